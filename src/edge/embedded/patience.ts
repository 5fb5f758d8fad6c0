import { LIMITS } from '../../core/limits.ts'
import type { LiveRoute, Parked } from './live-route.ts'
import type { Switchboard } from './switchboard.ts'

/**
 * For a request that no instance has accepted and that may still be sent: the only instance has just ended, and whoever starts it again
 * does not know it yet. The request waits with those of a hold, and looks again itself, with growing pauses, until the bound of a connection.
 */
export class Patience {
  readonly #parked: Parked
  #until: number | null = null
  #pauseMs: number = LIMITS.upstreamRetryFirstMs
  #timer: NodeJS.Timeout | null = null
  #route: LiveRoute | null = null

  constructor(parked: Parked) {
    this.#parked = parked
  }

  /** The bound counts from the first way that is tried. */
  begin(): void {
    this.#until ??= performance.now() + LIMITS.upstreamConnectMs
  }

  /** False when there is no time or no room left. Otherwise `proceed` follows, or `refuse` where a hold came and went. */
  wait(board: Switchboard, route: LiveRoute): boolean {
    const left = (this.#until ?? 0) - performance.now()
    if (left <= 0 || board.parked >= board.parkedMax) return false
    this.#route = route
    route.park(this.#parked)
    this.#timer = setTimeout(() => this.#look(route), Math.min(this.#pauseMs, left))
    this.#pauseMs = Math.min(this.#pauseMs * 2, LIMITS.upstreamRetryMaxMs)
    return true
  }

  /** From here on it waits no longer. */
  end(): void {
    clearTimeout(this.#timer ?? undefined)
    this.#timer = null
    this.#route?.unpark(this.#parked)
    this.#route = null
  }

  #look(route: LiveRoute): void {
    // A hold has begun meanwhile: it says when to go on.
    if (route.record.held) return
    this.end()
    this.#parked.proceed()
  }
}
