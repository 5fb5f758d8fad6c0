import { isShiplockError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { OutgoingAnswer } from '../../core/outgoing.ts'
import { printable } from '../../core/printable.ts'
import type { SendOutcome } from '../../store/sql/outbox-queue.ts'

/** What an answer means. Busy and broken receivers are asked again, later each time; one that refuses is not. */
export function outcomeOf(answer: Pick<OutgoingAnswer, 'status' | 'headers' | 'text'>, attempts: number, now: number): SendOutcome {
  const { status, headers } = answer
  if (status >= 200 && status < 300) return { kind: 'sent' }
  const error = `HTTP ${status}${answer.text === '' ? '' : `: ${printable(answer.text.replace(/\s+/g, ' ').slice(0, 200))}`}`
  const askedMs = retryAfterMs(headers, now)
  // GitHub says 403 when its rate limit is used up, with the time at which it is not.
  const mayTryAgain = status === 429 || status === 408 || status === 425 || status >= 500 || (status === 403 && askedMs !== null)
  return mayTryAgain ? again(error, attempts, askedMs) : { kind: 'given-up', error }
}

/** An address that this server does not call is refused for good; whatever else the network does may pass. */
export function outcomeOfFailure(failure: unknown, attempts: number): SendOutcome {
  const error = failure instanceof Error ? printable(failure.message) : 'not reached'
  return isShiplockError(failure, 'ADDRESS_REFUSED') ? { kind: 'given-up', error } : again(error, attempts, null)
}

function again(error: string, attempts: number, askedMs: number | null): SendOutcome {
  if (attempts >= LIMITS.outboxAttempts) return { kind: 'given-up', error: `${error} (after ${attempts} attempts)` }
  const backoffMs = Math.min(LIMITS.outboxBackoffMaxMs, LIMITS.outboxBackoffFirstMs * 2 ** (attempts - 1))
  return { kind: 'again', error, inMs: Math.max(backoffMs, Math.min(askedMs ?? 0, LIMITS.outboxRetryAfterMaxMs)) }
}

/** `Retry-After` as seconds or date, or GitHub's `X-RateLimit-Reset` once nothing remains; null = not said. */
function retryAfterMs(headers: OutgoingAnswer['headers'], now: number): number | null {
  const after = headers['retry-after']
  if (after !== undefined) {
    const ms = /^\d{1,9}$/.test(after) ? Number(after) * 1000 : Date.parse(after) - now
    return Number.isFinite(ms) ? Math.max(0, ms) : null
  }
  const reset = headers['x-ratelimit-reset']
  if (headers['x-ratelimit-remaining'] !== '0' || typeof reset !== 'string') return null
  const ms = Number(reset) * 1000 - now
  return Number.isFinite(ms) ? Math.max(0, ms) : null
}
