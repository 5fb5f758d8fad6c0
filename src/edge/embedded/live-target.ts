import { LIMITS } from '../../core/limits.ts'
import type { Target } from '../edge.ts'
import { type ConnectionOwner, UpstreamConnection } from './upstream-connection.ts'

/** A request, or a tunnel, that has claimed a target. */
export interface Flight {
  /** The drain's deadline has passed: end now, politely if that is possible. */
  cut(): void
}

/** A target as one worker sees it: what is in flight, its counters since the route's last swap, its connections. */
export class LiveTarget implements ConnectionOwner {
  readonly target: Target
  readonly flights = new Set<Flight>()
  readonly #connectionsMax: number
  readonly #idle: UpstreamConnection[] = []
  readonly #whenQuiet = new Set<() => void>()
  #open = 0
  /** Flights that did not end by themselves. */
  cutFlights = 0
  requests = 0
  serverErrors = 0
  failures = 0

  constructor(target: Target, connectionsMax: number) {
    this.target = target
    this.#connectionsMax = connectionsMax
  }

  get isFull(): boolean {
    return this.#idle.length === 0 && this.#open >= this.#connectionsMax
  }

  get idleConnections(): number {
    return this.#idle.length
  }

  /** In the tick in which it was chosen (DESIGN.md §9.1). Probes are not counted as requests. */
  claim(flight: Flight, isCounted: boolean): void {
    this.flights.add(flight)
    if (isCounted) this.requests += 1
  }

  /** Newest first, so that few connections stay warm and old ones run out. Null = make a fresh one. */
  takeIdle(isRepeatable: boolean): UpstreamConnection | null {
    const now = performance.now()
    const newest = this.#idle.at(-1)
    if (newest === undefined) return null
    const idleMaxMs = isRepeatable ? newest.idleMaxMs : Math.min(newest.idleMaxMs, LIMITS.upstreamUnsafeReuseMs)
    if (now - newest.idleSince > idleMaxMs) return null
    this.#idle.pop()
    if (newest.isHealthy) return newest
    newest.destroy()
    return this.takeIdle(isRepeatable)
  }

  open(): UpstreamConnection {
    this.#open += 1
    return new UpstreamConnection(this.target, this)
  }

  /** The flight is over: whoever waits for quiet learns it in the same tick. */
  land(flight: Flight): void {
    if (!this.flights.delete(flight) || this.flights.size > 0) return
    for (const tell of this.#whenQuiet) tell()
    this.#whenQuiet.clear()
  }

  cutAll(): void {
    this.cutFlights += this.flights.size
    for (const flight of [...this.flights]) flight.cut()
  }

  /** Calls back once nothing is in flight; the returned function forgets the callback. */
  onQuiet(tell: () => void): () => void {
    if (this.flights.size === 0) tell()
    else this.#whenQuiet.add(tell)
    return () => this.#whenQuiet.delete(tell)
  }

  resetCounters(): void {
    this.requests = 0
    this.serverErrors = 0
    this.failures = 0
  }

  released(connection: UpstreamConnection): void {
    if (connection.idleMaxMs <= 0 || this.#idle.length >= LIMITS.upstreamIdlePerTarget) connection.destroy()
    else this.#idle.push(connection)
  }

  closed(connection: UpstreamConnection): void {
    this.#open -= 1
    const index = this.#idle.indexOf(connection)
    if (index !== -1) this.#idle.splice(index, 1)
  }

  /** Closes connections that have been idle too long. */
  sweep(now: number): void {
    for (const connection of [...this.#idle]) if (now - connection.idleSince > connection.idleMaxMs) connection.destroy()
  }

  /** Before an instance is told to stop: no connection of the edge may be left for it to wait for. */
  destroyIdle(): void {
    for (const connection of [...this.#idle]) connection.destroy()
  }
}
