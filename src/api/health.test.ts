import { expect, test } from 'vitest'
import { LIMITS } from '../core/limits.ts'
import { Health } from './health.ts'

test('I13: a crowd that asks for health is one statement', async () => {
  let statements = 0
  const database = {
    query: async () => {
      statements += 1
      return []
    },
  }
  const time = { ms: 0 }
  const health = new Health(database, { monotonic: () => time.ms })
  await Promise.all(Array.from({ length: 500 }, () => health.assertWell()))
  expect(statements).toBe(1)
  time.ms += LIMITS.healthKeptMs + 1
  await health.assertWell()
  expect(statements).toBe(2)
})

test('a database that says nothing is unwell within a second, and is asked once', async () => {
  let statements = 0
  const database = {
    query: () => {
      statements += 1
      return new Promise<never>(() => {})
    },
  }
  const time = { ms: 0 }
  const health = new Health(database, { monotonic: () => time.ms })
  await expect(health.assertWell()).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE' })
  time.ms += 60_000
  await expect(health.assertWell()).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE' })
  expect(statements).toBe(1)
})

test('what the database says against it is passed on, and asked anew', async () => {
  let isWell = false
  const database = {
    query: async () => {
      if (!isWell) throw new Error('starting up')
      return []
    },
  }
  const time = { ms: 0 }
  const health = new Health(database, { monotonic: () => time.ms })
  await expect(health.assertWell()).rejects.toThrow('starting up')
  isWell = true
  time.ms += LIMITS.healthKeptMs + 1
  await health.assertWell()
})
