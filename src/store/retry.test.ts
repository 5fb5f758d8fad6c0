import { describe, expect, test } from 'vitest'
import type { Clock } from '../core/clock.ts'
import { LIMITS } from '../core/limits.ts'
import { DatabaseError, type DatabaseErrorFacts } from './database.ts'
import { withRetry } from './retry.ts'

/** Time passes only in sleeps. */
function fakeClock(): Clock & { readonly pauses: number[] } {
  let now = 0
  const pauses: number[] = []
  return {
    pauses,
    now: () => now,
    monotonic: () => now,
    sleep: async (ms, signal) => {
      signal?.throwIfAborted()
      pauses.push(ms)
      now += ms
    },
  }
}

const error = (facts: Partial<DatabaseErrorFacts>) =>
  new DatabaseError('database: away', { fault: 'unavailable', isOutcomeUnknown: false, ...facts })

/** Fails so many times, then succeeds; counts its calls. */
function work(failures: number, failure: unknown = error({})) {
  const calls = { count: 0 }
  return {
    calls,
    run: async () => {
      calls.count += 1
      if (calls.count <= failures) throw failure
      return 'done'
    },
  }
}

describe('withRetry', () => {
  test('repeats what is transient until it works, with pauses that grow up to a bound', async () => {
    const clock = fakeClock()
    const { run, calls } = work(12)
    expect(await withRetry(run, { clock })).toBe('done')
    expect(calls.count).toBe(13)
    expect(clock.pauses[0]).toBeLessThan(40)
    expect(Math.max(...clock.pauses)).toBeLessThanOrEqual(LIMITS.databaseRetryPauseMs * 1.25)
    expect(clock.pauses.at(-1)).toBeGreaterThan(LIMITS.databaseRetryPauseMs * 0.7)
  })

  test('gives up with the last error when its time is over', async () => {
    const clock = fakeClock()
    const failure = error({})
    await expect(withRetry(work(Number.POSITIVE_INFINITY, failure).run, { clock, giveUpAfterMs: 5000 })).rejects.toBe(failure)
    expect(clock.monotonic()).toBeLessThanOrEqual(5000)
    expect(clock.monotonic()).toBeGreaterThan(3000)
  })

  test.each([
    ['a constraint', error({ fault: 'constraint' })],
    ['a wrong password', error({ fault: 'refused' })],
    ['a slow statement', error({ fault: 'timeout' })],
    ['anything that is not the database’s', new Error('bug')],
  ])('does not repeat after %s', async (_, failure) => {
    const { run, calls } = work(1, failure)
    await expect(withRetry(run, { clock: fakeClock(), isIdempotent: true })).rejects.toBe(failure)
    expect(calls.count).toBe(1)
  })

  test('repeats a commit of unknown outcome only when told that it is idempotent', async () => {
    const failure = error({ fault: 'connection-lost', isOutcomeUnknown: true })
    const once = work(1, failure)
    await expect(withRetry(once.run, { clock: fakeClock() })).rejects.toBe(failure)
    expect(once.calls.count).toBe(1)
    expect(await withRetry(work(1, failure).run, { clock: fakeClock(), isIdempotent: true })).toBe('done')
  })

  test('ends with the reason of its signal, before the first attempt and between two', async () => {
    const stopped = new AbortController()
    stopped.abort(new Error('stopping'))
    const never = work(0)
    await expect(withRetry(never.run, { clock: fakeClock(), signal: stopped.signal })).rejects.toThrow('stopping')
    expect(never.calls.count).toBe(0)
    const later = new AbortController()
    const { run, calls } = work(9)
    const onRetry = () => later.abort(new Error('enough'))
    await expect(withRetry(run, { clock: fakeClock(), signal: later.signal, onRetry })).rejects.toThrow('enough')
    expect(calls.count).toBe(1)
  })
})
