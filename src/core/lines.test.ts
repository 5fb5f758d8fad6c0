import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { LIMITS } from './limits.ts'
import { LineSplitter } from './lines.ts'

function linesOf(chunks: readonly Uint8Array[]): string[] {
  const lines: string[] = []
  const splitter = new LineSplitter((line) => lines.push(line))
  for (const chunk of chunks) splitter.push(chunk)
  splitter.end()
  return lines
}

function cutAt(bytes: Buffer, places: readonly number[]): Buffer[] {
  const ends = [...new Set(places.map((place) => place % (bytes.length + 1)))].sort((a, b) => a - b)
  return [...ends, bytes.length].map((end, nth) => bytes.subarray(ends[nth - 1] ?? 0, end))
}

describe('lines from a stream of bytes', () => {
  test('are the same however the stream was cut, also within characters and line ends', () => {
    const text = fc.array(fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom('\n', '\r\n', '\r', '🚢', 'ü')), { maxLength: 20 })
    fc.assert(
      fc.property(text, fc.array(fc.nat(), { maxLength: 12 }), (parts, places) => {
        const bytes = Buffer.from(parts.join(''))
        expect(linesOf(cutAt(bytes, places))).toEqual(linesOf([bytes]))
      }),
    )
  })

  test('are the same for lines about as long as the limit, wherever the cut', () => {
    for (const length of [-1, 0, 1].map((more) => LIMITS.logLineBytes + more)) {
      for (const end of ['\n', '\r\n', '']) {
        const bytes = Buffer.from(`${'x'.repeat(length)}${end}next`)
        const whole = linesOf([bytes])
        for (let place = length - 2; place <= bytes.length; place++) expect(linesOf(cutAt(bytes, [place]))).toEqual(whole)
      }
    }
  })

  test('lose nothing: joined again they are the text', () => {
    fc.assert(
      fc.property(fc.array(fc.string(), { maxLength: 10 }), (lines) => {
        const clean = lines.map((line) => line.replace(/[\r\n]/g, ''))
        expect(linesOf([Buffer.from(clean.map((line) => `${line}\n`).join(''))])).toEqual(clean)
      }),
    )
  })

  test.each([
    ['bar 1/9\rbar 2/9\rbar 9/9\ndone\n', ['bar 9/9', 'done']],
    ['bar 1\rbar 2\r\n', ['bar 2']],
    ['bar 1\rbar 2\r', ['bar 2']],
    ['bar 1\rbar 2', ['bar 2']],
    ['bar 100%\r        \r\u001b[K\nnext', ['bar 100%', 'next']],
    ['bar 100%\r\u001b[2Kdone\n', ['done']],
    ['\r\r\r\n', ['']],
    ['a\r\r\nb\r\n\n', ['a', 'b', '']],
  ])('a progress bar %j is its last state', (text, lines) => {
    expect(linesOf([Buffer.from(text)])).toEqual(lines)
    expect(linesOf([...Buffer.from(text)].map((byte) => Buffer.from([byte])))).toEqual(lines)
  })

  test('I12: a bar of megabytes is one line', () => {
    const bar = Array.from({ length: 30_000 }, (_, n) => `bar ${n}/30000 ${'#'.repeat(90)}`).join('\r')
    expect(linesOf([Buffer.from(`${bar}\nbar done`)])).toEqual([`bar 29999/30000 ${'#'.repeat(90)}`, 'bar done'])
  })

  test('I12: are bounded, also when a program never breaks its line', () => {
    const lines: string[] = []
    const splitter = new LineSplitter((line) => lines.push(line))
    for (let nth = 0; nth < 100; nth++) splitter.push(Buffer.alloc(10_000, 'x'))
    splitter.end()
    expect(lines.join('')).toHaveLength(1_000_000)
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(LIMITS.logLineBytes)
  })

  test('a character cut by the bound leaves no half that a database would refuse', () => {
    const lines = linesOf([Buffer.from(`${'x'.repeat(LIMITS.logLineBytes - 1)}🚢\n`)])
    for (const line of lines) expect(Buffer.from(line).toString()).toBe(line)
  })
})
