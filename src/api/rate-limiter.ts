import type { Clock } from '../core/clock.ts'

export interface RatePolicy {
  /** As clients see it. */
  readonly name: string
  /** At once, and again per window. */
  readonly requests: number
  readonly windowMs: number
  /** Holders that are remembered; who came longest ago is forgotten first, and begins anew. */
  readonly holdersMax: number
}

export interface RateVerdict {
  readonly isAllowed: boolean
  readonly remaining: number
  /** Whole seconds until the next request is allowed; 0 = now. */
  readonly retryAfterSeconds: number
  /** Whole seconds until all of the quota is there again. */
  readonly resetSeconds: number
}

interface Bucket {
  level: number
  at: number
}

/** A bucket per holder that refills steadily. Bounded in memory (I12), and each server counts for itself. */
export class RateLimiter {
  readonly policy: RatePolicy
  readonly #clock: Pick<Clock, 'now'>
  readonly #buckets = new Map<string, Bucket>()

  constructor(policy: RatePolicy, clock: Pick<Clock, 'now'>) {
    this.policy = policy
    this.#clock = clock
  }

  /** Takes one, if there is one. */
  take(holder: string): RateVerdict {
    const bucket = this.#refilled(holder)
    const isAllowed = bucket.level >= 1
    if (isAllowed) bucket.level -= 1
    this.#buckets.delete(holder)
    this.#buckets.set(holder, bucket)
    if (this.#buckets.size > this.policy.holdersMax) {
      const [oldest] = this.#buckets.keys()
      if (oldest !== undefined) this.#buckets.delete(oldest)
    }
    return this.#verdict(bucket, isAllowed)
  }

  /** What `take` would say; takes nothing. */
  peek(holder: string): RateVerdict {
    const bucket = this.#refilled(holder)
    return this.#verdict(bucket, bucket.level >= 1)
  }

  get holders(): number {
    return this.#buckets.size
  }

  #refilled(holder: string): Bucket {
    const { requests, windowMs } = this.policy
    const now = this.#clock.now()
    const known = this.#buckets.get(holder)
    if (known === undefined) return { level: requests, at: now }
    // A clock that was set back refills nothing.
    const gained = (Math.max(0, now - known.at) / windowMs) * requests
    return { level: Math.min(requests, known.level + gained), at: now }
  }

  #verdict({ level }: Bucket, isAllowed: boolean): RateVerdict {
    const { requests, windowMs } = this.policy
    const secondsFor = (missing: number) => Math.ceil((missing / requests) * (windowMs / 1000))
    return {
      isAllowed,
      remaining: Math.floor(level),
      retryAfterSeconds: isAllowed ? 0 : Math.max(1, secondsFor(1 - level)),
      resetSeconds: secondsFor(requests - level),
    }
  }
}

/** `RateLimit-Policy` and `RateLimit` as draft-ietf-httpapi-ratelimit-headers writes them. */
export function rateHeaders({ name, requests, windowMs }: RatePolicy, { remaining, resetSeconds }: RateVerdict): [string, string][] {
  return [
    ['RateLimit-Policy', `"${name}";q=${requests};w=${Math.round(windowMs / 1000)}`],
    ['RateLimit', `"${name}";r=${remaining};t=${resetSeconds}`],
  ]
}
