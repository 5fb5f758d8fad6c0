import { timingSafeEqual } from 'node:crypto'
import { LIMITS } from '../../core/limits.ts'
import type { InstanceId } from '../../domain/ids.ts'
import type { Switchboard } from './switchboard.ts'

/** What every exchange of a worker shares. */
export interface EdgeContext {
  readonly board: Switchboard
  readonly listenPort: number
  readonly probeToken: string
  readonly responseTimeoutMs: number
  /** What a proxy in front says about the client's request holds. */
  readonly trustsForwarded: boolean
  /** What all hosts share, when their apps belong to people who don't trust each other: no cookie is set for it. */
  readonly cookieBase: string | null
  /** Said in the log, now and then: an instance gave an answer that could not be passed on. */
  readonly noteInvalid: (instance: InstanceId, what: string) => void
  /** From then on each answer ends its client connection. */
  isRetiring: boolean
  /** Exchanges that wait for an answer's head, so that one coarse timer can watch them all. */
  readonly waiting: Set<{ readonly deadline: number; timeOut(): void }>
}

export function createEdgeContext(
  board: Switchboard,
  config: Pick<EdgeContext, 'listenPort' | 'probeToken' | 'trustsForwarded'> & {
    readonly responseTimeoutMs: number | null
    /** Not said by a primary that is older than this worker. */
    readonly cookieBase?: string | null
  },
  warn: (message: string, facts: Readonly<Record<string, unknown>>) => void = () => {},
): EdgeContext {
  return {
    board,
    listenPort: config.listenPort,
    probeToken: config.probeToken,
    trustsForwarded: config.trustsForwarded,
    responseTimeoutMs: config.responseTimeoutMs ?? LIMITS.upstreamResponseMs,
    cookieBase: config.cookieBase ?? null,
    noteInvalid: invalidNotes(warn),
    isRetiring: false,
    waiting: new Set(),
  }
}

/** The first of an instance, then one a minute; of few instances at a time. */
function invalidNotes(warn: (message: string, facts: Readonly<Record<string, unknown>>) => void): EdgeContext['noteInvalid'] {
  const said = new Map<InstanceId, number>()
  return (instance, what) => {
    const now = performance.now()
    if (now - (said.get(instance) ?? Number.NEGATIVE_INFINITY) < NOTE_EVERY_MS) return
    if (said.size >= NOTED_INSTANCES) said.clear()
    said.set(instance, now)
    warn('an answer was not valid HTTP and became 502', { instance, what })
  }
}
const NOTE_EVERY_MS = 60_000
const NOTED_INSTANCES = 200

/** Scheme and port of the client's request: ours, or what a proxy in front of us says. */
export function outerScheme(
  context: EdgeContext,
  headers: Readonly<Record<string, string | string[] | undefined>>,
): { readonly protocol: 'http' | 'https'; readonly listenPort: number } {
  const { trustsForwarded, listenPort } = context
  if (!trustsForwarded) return { protocol: 'http', listenPort }
  const protocol = headers['x-forwarded-proto'] === 'https' || headers['x-forwarded-proto'] === 'wss' ? 'https' : 'http'
  const port = /^\d{1,5}$/.exec(String(headers['x-forwarded-port'] ?? ''))?.[0]
  return { protocol, listenPort: port === undefined ? listenPort : Number(port) }
}

/** Compares in constant time. */
export function isProbe(context: EdgeContext, value: string | string[] | undefined): boolean {
  if (typeof value !== 'string') return false
  const given = Buffer.from(value)
  const wanted = Buffer.from(context.probeToken)
  return given.length === wanted.length && timingSafeEqual(given, wanted)
}
