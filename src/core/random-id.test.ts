import fc from 'fast-check'
import { expect, test } from 'vitest'
import { randomId } from './random-id.ts'

test('ids say what they name, and two are never the same', () => {
  const ids = Array.from({ length: 10_000 }, () => randomId('dep', 1_700_000_000_000))
  expect(new Set(ids).size).toBe(ids.length)
  for (const id of ids) expect(id).toMatch(/^dep_[0-9a-hjkmnp-tv-z]{20}$/)
})

test('later ids sort after earlier ones', () => {
  const time = fc.integer({ min: 0, max: 2 ** 44 })
  fc.assert(
    fc.property(time, time, (one, other) => {
      fc.pre(one < other)
      expect(randomId('x', one) < randomId('x', other)).toBe(true)
    }),
  )
})
