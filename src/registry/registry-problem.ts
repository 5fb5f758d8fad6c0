import type { Clock } from '../core/clock.ts'
import { ShiplockError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { printable } from '../core/printable.ts'

export type ProblemKind =
  /** Transport, 5xx, 429: may pass by itself. */
  | 'passing'
  /** 401, 403, or the registry's own words for it. */
  | 'denied'
  /** Anything else that another try would not change. */
  | 'refused'

/** What went wrong between us (or the container engine) and a registry. The message is foreign text made printable. */
export class RegistryProblem extends Error {
  readonly kind: ProblemKind
  /** From Retry-After; null = our own pace. */
  readonly retryAfterMs: number | null

  constructor(kind: ProblemKind, message: string, retryAfterMs: number | null = null) {
    super(printable(message).slice(0, LIMITS.registryMessageLength))
    this.name = 'RegistryProblem'
    this.kind = kind
    this.retryAfterMs = retryAfterMs
  }
}

const DENIED =
  /unauthori[sz]ed|denied|authentication required|no basic auth credentials|incorrect username or password|forbidden|insufficient_scope/i
const PASSING =
  /connection refused|connection reset|broken pipe|\bEOF\b|timeout|timed out|i\/o|no such host|temporary failure|server misbehaving|network is unreachable|no route to host|too ?many ?requests|toomanyrequests|unavailable|bad gateway|internal server error|unexpected status[^:]*: 5\d\d|received unexpected HTTP status: 5\d\d|use of closed network connection|handshake|unknown: unknown error|blob upload (?:invalid|unknown)|context deadline/i

/** The engine reports a failed push as a sentence; this sorts the sentences of dockerd, containerd and Podman. */
export function problemOfMessage(message: string): RegistryProblem {
  if (DENIED.test(message)) return new RegistryProblem('denied', message)
  if (/server gave HTTP response to HTTPS client/i.test(message)) return new RegistryProblem('refused', message)
  return new RegistryProblem(PASSING.test(message) ? 'passing' : 'refused', message)
}

const FIRST_PAUSE_MS = 500

/** Repeats what may pass by itself, with growing pauses; gives up after `LIMITS.registryAttempts`. Work must be safe to repeat. */
export async function withRegistryRetry<T>(
  work: () => Promise<T>,
  options: {
    readonly clock: Clock
    readonly signal: AbortSignal
    readonly onRetry: (problem: RegistryProblem, pauseMs: number, attempt: number) => void
  },
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    options.signal.throwIfAborted()
    try {
      return await work()
    } catch (error) {
      options.signal.throwIfAborted()
      if (!(error instanceof RegistryProblem) || error.kind !== 'passing' || attempt >= LIMITS.registryAttempts) throw error
      const ownPace = FIRST_PAUSE_MS * 2 ** (attempt - 1) * (0.75 + Math.random() / 2)
      const pauseMs = Math.min(Math.max(ownPace, error.retryAfterMs ?? 0), LIMITS.registryPauseMs)
      options.onRetry(error, pauseMs, attempt)
      await options.clock.sleep(pauseMs, options.signal)
    }
  }
}

/** For the deployment: what happened, and who can do what about it. */
export function publishFailed(problem: RegistryProblem, where: string): ShiplockError {
  const hints: Readonly<Record<ProblemKind, string>> = {
    passing: 'Check that the registry runs and is reached from this server, then deploy again; what was built is kept.',
    denied:
      'Check SHIPLOCK_REGISTRY_USER and SHIPLOCK_REGISTRY_PASSWORD (or the file in SHIPLOCK_REGISTRY_AUTH_FILE), and that this account may push there.',
    refused: 'Check SHIPLOCK_REGISTRY; a registry without TLS needs SHIPLOCK_REGISTRY_INSECURE=true and the engine to know it as insecure.',
  }
  const what = problem.kind === 'denied' ? 'refuses us' : problem.kind === 'passing' ? 'could not be reached or failed' : 'did not take it'
  return new ShiplockError('PUBLISH_FAILED', `${where} ${what}: ${problem.message}`, {
    hint: hints[problem.kind],
    details: { kind: problem.kind },
  })
}
