import { type Clock, systemClock } from '../core/clock.ts'
import { LIMITS } from '../core/limits.ts'
import { isTransient } from './database.ts'

export interface RetryOptions {
  readonly signal?: AbortSignal
  /** The work may be done twice with the effect of once. Without it a commit whose outcome is unknown is never repeated. */
  readonly isIdempotent?: boolean
  /** Gives up when this has passed; rejects with the last error. Default `LIMITS.databaseRetryMs`. */
  readonly giveUpAfterMs?: number
  readonly onRetry?: (error: Error, attempt: number) => void
  readonly clock?: Clock
}

const FIRST_PAUSE_MS = 25

/** Repeats work against a database that went away and came back, or that chose this transaction as the loser of a conflict. */
export async function withRetry<T>(work: () => Promise<T>, options: RetryOptions = {}): Promise<T> {
  const clock = options.clock ?? systemClock
  const giveUpAt = clock.monotonic() + (options.giveUpAfterMs ?? LIMITS.databaseRetryMs)
  for (let attempt = 1; ; attempt++) {
    options.signal?.throwIfAborted()
    try {
      return await work()
    } catch (error) {
      const mayRepeat = isTransient(error) && (!error.isOutcomeUnknown || options.isIdempotent === true)
      const pauseMs = Math.min(FIRST_PAUSE_MS * 2 ** (attempt - 1), LIMITS.databaseRetryPauseMs) * (0.75 + Math.random() / 2)
      if (!mayRepeat || clock.monotonic() + pauseMs > giveUpAt) throw error
      options.onRetry?.(error, attempt)
      await clock.sleep(pauseMs, options.signal)
    }
  }
}
