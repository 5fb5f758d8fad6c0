import { expect, test } from 'vitest'
import { LIMITS } from '../core/limits.ts'
import { BatchedLookup } from './batched-lookup.ts'

function heldLookup() {
  const asked: { keys: readonly string[]; answer: (found: ReadonlyMap<string, string>) => void; fail: (error: Error) => void }[] = []
  const lookup = new BatchedLookup<string>((keys) => new Promise((resolve, reject) => asked.push({ keys, answer: resolve, fail: reject })))
  return { lookup, asked }
}

test('I13: a thousand guesses at once are a handful of statements, and a good one among them is found', async () => {
  let statements = 0
  const lookup = new BatchedLookup<string>(async (keys) => {
    statements += 1
    expect(keys.length).toBeLessThanOrEqual(LIMITS.lookupKeys)
    return new Map(keys.filter((key) => key === 'good').map((key) => [key, 'found']))
  })
  const guesses = Array.from({ length: 1000 }, (_, index) => lookup.get(`guess ${index}`))
  expect(await lookup.get('good')).toBe('found')
  expect(new Set(await Promise.all(guesses))).toEqual(new Set([null]))
  expect(statements).toBeLessThanOrEqual(Math.ceil(1000 / LIMITS.lookupKeys) + LIMITS.lookupsAtOnce)
})

test('an answer is never older than its question', async () => {
  const { lookup, asked } = heldLookup()
  const first = lookup.get('a')
  for (let count = 1; count < LIMITS.lookupsAtOnce; count++) void lookup.get(`other ${count}`)
  const second = lookup.get('a')
  expect(asked.length).toBe(LIMITS.lookupsAtOnce)
  asked[0]?.answer(new Map([['a', 'before']]))
  expect(await first).toBe('before')
  await expect.poll(() => asked.length).toBe(LIMITS.lookupsAtOnce + 1)
  asked.at(-1)?.answer(new Map([['a', 'after']]))
  expect(await second).toBe('after')
})

test('a statement that fails fails those who asked, and the next one is asked', async () => {
  const { lookup, asked } = heldLookup()
  const first = lookup.get('a')
  asked[0]?.fail(new Error('away'))
  await expect(first).rejects.toThrow('away')
  const second = lookup.get('a')
  asked[1]?.answer(new Map())
  expect(await second).toBe(null)
})
