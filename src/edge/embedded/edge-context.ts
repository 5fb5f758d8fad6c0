import { timingSafeEqual } from 'node:crypto'
import { LIMITS } from '../../core/limits.ts'
import type { Switchboard } from './switchboard.ts'

/** What every exchange of a worker shares. */
export interface EdgeContext {
  readonly board: Switchboard
  readonly listenPort: number
  readonly probeToken: string
  readonly responseTimeoutMs: number
  /** From then on each answer ends its client connection. */
  isRetiring: boolean
  /** Exchanges that wait for an answer's head, so that one coarse timer can watch them all. */
  readonly waiting: Set<{ readonly deadline: number; timeOut(): void }>
}

export function createEdgeContext(board: Switchboard, listenPort: number, probeToken: string, responseTimeoutMs?: number): EdgeContext {
  return {
    board,
    listenPort,
    probeToken,
    responseTimeoutMs: responseTimeoutMs ?? LIMITS.upstreamResponseMs,
    isRetiring: false,
    waiting: new Set(),
  }
}

/** Compares in constant time. */
export function isProbe(context: EdgeContext, value: string | string[] | undefined): boolean {
  if (typeof value !== 'string') return false
  const given = Buffer.from(value)
  const wanted = Buffer.from(context.probeToken)
  return given.length === wanted.length && timingSafeEqual(given, wanted)
}
