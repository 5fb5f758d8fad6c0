import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { formatDuration, parseDuration } from './duration.ts'
import { formatListenAddress, isLoopback, parseListenAddress } from './listen-address.ts'
import { SERVICE_NAME } from './manifest/fields.ts'
import { nearest } from './nearest.ts'
import { normalizeName } from './normalize-name.ts'

describe('durations', () => {
  it.each([
    ['500ms', 500],
    ['30s', 30_000],
    ['1.5m', 90_000],
    ['1h', 3_600_000],
    ['2d', 172_800_000],
    [' 5 s ', 5000],
    [45, 45_000],
    [0.25, 250],
    ['0', 0],
  ])('reads %j', (text, ms) => {
    expect(parseDuration(text)).toBe(ms)
  })

  it.each(['', 's', '5 minutes', '-1s', '1e3', 'NaN', '٣s', '1h30m', '9'.repeat(20), Number.NaN, Number.POSITIVE_INFINITY, -1, 1e21])(
    'refuses %j',
    (text) => {
      expect(parseDuration(text)).toBeNull()
    },
  )

  it('reads back what it wrote', () => {
    fc.assert(
      fc.property(fc.nat({ max: 90 * 86_400_000 }), (ms) => {
        expect(parseDuration(formatDuration(ms))).toBe(ms)
      }),
    )
  })
})

describe('service names', () => {
  it.each([
    ['hello', 'hello'],
    ['My_App.Thing', 'my-app-thing'],
    ['@acme/Web', 'web'],
    ['repo.git', 'repo'],
    ['2048', 'app-2048'],
    ['Größe', 'gro-e'],
    ['Café', 'cafe'],
    ['---', 'app'],
    ['日本', 'app'],
    [`${'a'.repeat(39)}-b`, 'a'.repeat(39)],
  ])('makes %s into %s', (text, name) => {
    expect(normalizeName(text)).toBe(name)
  })

  it('makes a legal name of any text, the same one twice, and leaves a legal one alone', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 80 }), (text) => {
        const name = normalizeName(text)
        expect(name).toMatch(SERVICE_NAME)
        expect(normalizeName(name)).toBe(name)
      }),
    )
  })
})

describe('listen addresses', () => {
  it('are read back as they were written', () => {
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), fc.nat({ max: 65_535 }), (host, port) => {
        expect(parseListenAddress(formatListenAddress({ host, port }))).toEqual({ host, port })
      }),
    )
  })

  it.each([
    ['127.0.0.1', true],
    ['127.9.9.9', true],
    ['localhost', true],
    ['::1', true],
    ['0.0.0.0', false],
    ['::', false],
    ['10.0.0.1', false],
  ])('%s is loopback: %s', (host, expected) => {
    expect(isLoopback({ host, port: 1 })).toBe(expected)
  })
})

describe('the nearest known word', () => {
  it.each([
    ['prot', 'port'],
    ['Port', 'port'],
    ['instnaces', 'instances'],
    ['o', 'os'],
    ['xy', null],
    ['completely different', null],
  ])('of %s is %s', (word, near) => {
    expect(nearest(word, ['port', 'os', 'instances', 'start'])).toBe(near)
  })
})
