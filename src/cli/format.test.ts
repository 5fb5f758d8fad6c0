import { stripVTControlCharacters } from 'node:util'
import { createColors } from 'picocolors'
import { describe, expect, test } from 'vitest'
import { count, formatAgo, formatBytes, formatClock, formatTook } from './format.ts'
import { table } from './table.ts'
import { fitted } from './terminal.ts'

describe('figures for people', () => {
  test.each([
    [0, '0 ms'],
    [-5, '0 ms'],
    [999, '999 ms'],
    [4200, '4.2 s'],
    [185_000, '3 min 05 s'],
  ])('%d ms is %s', (ms, text) => expect(formatTook(ms)).toBe(text))

  test.each([
    [500, 'just now'],
    [-5000, 'just now'],
    [61_000, '1 min ago'],
    [7_200_000, '2 h ago'],
    [172_800_000, '2 d ago'],
  ])('%d ms back is %s', (ms, text) => {
    const now = Date.parse('2026-01-31T12:00:00Z')
    expect(formatAgo(new Date(now - ms).toISOString(), now)).toBe(text)
  })

  test.each([
    [12, '12 B'],
    [1536, '1.5 KiB'],
    [20 * 1024 * 1024, '20 MiB'],
  ])('%d bytes are %s', (bytes, text) => expect(formatBytes(bytes)).toBe(text))

  test('one is one, two are several', () => expect([count(1, 'request'), count(2, 'request')]).toEqual(['1 request', '2 requests']))

  test('a time that is none is shown as it is', () => expect(formatClock('soon')).toBe('soon'))
})

describe('table', () => {
  test('columns are as wide as what is seen, whatever its colours', () => {
    const { red } = createColors(true)
    const lines = table(
      ['NAME', 'STATE'],
      [
        ['web', red('failed')],
        ['worker', 'live'],
      ],
      (header) => header,
    ).map(stripVTControlCharacters)
    expect(lines).toEqual(['NAME    STATE', 'web     failed', 'worker  live'])
  })

  const deliveries = [['del_1', 'the push is older than the last one that was decided'] as const]
  const plain = (header: string) => header

  test('the text of the last column is wrapped beside the others where there is room', () => {
    expect(table(['DELIVERY', 'WHY'], deliveries, plain, 40)).toEqual([
      'DELIVERY  WHY',
      'del_1     the push is older than the',
      '          last one that was decided',
    ])
  })

  test('and below them where there is none', () => {
    expect(table(['DELIVERY', 'WHY'], deliveries, plain, 34)).toEqual([
      'DELIVERY',
      'del_1',
      '    the push is older than the',
      '    last one that was decided',
    ])
  })

  test('nothing is wrapped without a terminal, and a word without spaces is cut into lines', () => {
    expect(table(['A', 'B'], [['x', 'y'.repeat(500)]], plain)[1]).toHaveLength(503)
    expect(table(['A', 'B'], [['x', 'y'.repeat(60)]], plain, 43)).toEqual(['A  B', `x  ${'y'.repeat(40)}`, `   ${'y'.repeat(20)}`])
  })
})

describe('fitted', () => {
  test('I9: escape sequences of others never reach the terminal', () => {
    const shown = fitted('a\u001b[2Jb\u001b]0;title\u0007c\r\n', 80)
    for (const character of ['\u001b', '\u0007', '\r', '\n']) expect(shown).not.toContain(character)
  })

  test('what is too long is cut with a mark', () => expect(fitted('abcdefgh', 5)).toBe('abcd…'))
})
