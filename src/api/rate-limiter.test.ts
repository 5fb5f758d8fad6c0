import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { RateLimiter, rateHeaders } from './rate-limiter.ts'

function limiterAt(requests: number, holdersMax = 100) {
  const clock = { now: () => time.ms }
  const time = { ms: 1_000_000 }
  return { limiter: new RateLimiter({ name: 'token', requests, windowMs: 60_000, holdersMax }, clock), time }
}

describe('a rate limit', () => {
  test('gives its quota at once, then as fast as it refills', () => {
    const { limiter, time } = limiterAt(60)
    for (let count = 0; count < 60; count++) expect(limiter.take('a').isAllowed).toBe(true)
    expect(limiter.take('a')).toEqual({ isAllowed: false, remaining: 0, retryAfterSeconds: 1, resetSeconds: 60 })
    expect(limiter.take('b').isAllowed).toBe(true)
    time.ms += 1000
    expect(limiter.take('a').isAllowed).toBe(true)
    expect(limiter.take('a').isAllowed).toBe(false)
    time.ms += 3_600_000
    expect(limiter.peek('a')).toMatchObject({ isAllowed: true, remaining: 60, resetSeconds: 0 })
  })

  test('whoever waits as long as he is told is let in', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 500 }), fc.array(fc.integer({ min: 0, max: 5000 }), { maxLength: 60 }), (requests, pauses) => {
        const { limiter, time } = limiterAt(requests)
        for (const pause of pauses) {
          time.ms += pause
          const verdict = limiter.take('a')
          if (verdict.isAllowed) continue
          time.ms += verdict.retryAfterSeconds * 1000
          expect(limiter.take('a').isAllowed).toBe(true)
        }
      }),
    )
  })

  test('never more than quota + refill, whatever the clock does', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 50 }),
        fc.array(fc.integer({ min: -3000, max: 3000 }), { maxLength: 300 }),
        (requests, steps) => {
          const { limiter, time } = limiterAt(requests)
          let forward = 0
          let allowed = 0
          for (const step of steps) {
            time.ms += step
            forward += Math.max(0, step)
            if (limiter.take('a').isAllowed) allowed += 1
          }
          expect(allowed).toBeLessThanOrEqual(requests + (forward / 60_000) * requests + 1e-6)
        },
      ),
    )
  })

  test('I12: holders are bounded, the longest quiet one is forgotten', () => {
    const { limiter } = limiterAt(1, 3)
    for (const holder of ['a', 'b', 'c', 'a', 'd']) limiter.take(holder)
    expect(limiter.holders).toBe(3)
    expect(limiter.peek('b').isAllowed).toBe(true)
    expect(limiter.peek('a').isAllowed).toBe(false)
  })

  test('is told as the IETF draft writes it', () => {
    const { limiter } = limiterAt(60)
    expect(rateHeaders(limiter.policy, limiter.take('a'))).toEqual([
      ['RateLimit-Policy', '"token";q=60;w=60'],
      ['RateLimit', '"token";r=59;t=1'],
    ])
  })
})
