import { timingSafeEqual } from 'node:crypto'
import { LIMITS } from '../../core/limits.ts'
import type { Switchboard } from './switchboard.ts'

/** What every exchange of a worker shares. */
export interface EdgeContext {
  readonly board: Switchboard
  readonly listenPort: number
  readonly probeToken: string
  readonly responseTimeoutMs: number
  /** What a proxy in front says about the client's request holds. */
  readonly trustsForwarded: boolean
  /** From then on each answer ends its client connection. */
  isRetiring: boolean
  /** Exchanges that wait for an answer's head, so that one coarse timer can watch them all. */
  readonly waiting: Set<{ readonly deadline: number; timeOut(): void }>
}

export function createEdgeContext(
  board: Switchboard,
  config: Pick<EdgeContext, 'listenPort' | 'probeToken' | 'trustsForwarded'> & { readonly responseTimeoutMs: number | null },
): EdgeContext {
  return {
    board,
    listenPort: config.listenPort,
    probeToken: config.probeToken,
    trustsForwarded: config.trustsForwarded,
    responseTimeoutMs: config.responseTimeoutMs ?? LIMITS.upstreamResponseMs,
    isRetiring: false,
    waiting: new Set(),
  }
}

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
