import { LIMITS } from '../../core/limits.ts'
import type { RouteRecord } from '../route-ledger.ts'
import type { LiveTarget } from './live-target.ts'

/** A request that waits for a hold to end. */
export interface Parked {
  proceed(): void
  refuse(): void
}

/** Whoever must think again when any route has changed. */
export interface RouteWatcher {
  routeChanged(): void
}

/** Counters of one worker for one route since its last swap. */
export interface RouteCounters {
  requests: number
  serverErrors: number
  failures: number
  longestStallMs: number
}

/** A route in one worker: the immutable record and targets are replaced together, in one tick. */
export class LiveRoute {
  record: RouteRecord
  targets: readonly LiveTarget[]
  counters: RouteCounters = emptyCounters()
  readonly #parked = new Set<Parked>()
  #holdTimer: NodeJS.Timeout | null = null
  #turn = 0

  constructor(record: RouteRecord, targets: readonly LiveTarget[]) {
    this.record = record
    this.targets = targets
    this.#watchHold()
  }

  /** The flip. */
  replace(record: RouteRecord, targets: readonly LiveTarget[]): void {
    if (record.generation !== this.record.generation) {
      this.counters = emptyCounters()
      for (const target of targets) target.resetCounters()
    }
    this.record = record
    this.targets = targets
    this.#watchHold()
  }

  /** After the flip is visible to look-ups: lets those go on who waited for the end of a hold. */
  settle(): void {
    if (!this.record.held) this.#empty((parked) => parked.proceed())
  }

  /** The route is gone; those who waited learn it by looking it up again. */
  retire(): void {
    clearTimeout(this.#holdTimer ?? undefined)
    this.#empty((parked) => parked.proceed())
  }

  get isHoldOver(): boolean {
    return this.record.holdUntil !== null && Date.now() >= this.record.holdUntil
  }

  get parked(): number {
    return this.#parked.size
  }

  park(parked: Parked): void {
    this.#parked.add(parked)
  }

  unpark(parked: Parked): void {
    this.#parked.delete(parked)
  }

  /** The least loaded target, in turn among equals; null when none is left. Choosing and counting happen in the same tick (DESIGN.md §9.1). */
  choose(tried: readonly LiveTarget[]): LiveTarget | null {
    const { targets } = this
    let best: LiveTarget | null = null
    this.#turn = (this.#turn + 1) % Math.max(1, targets.length)
    for (let index = 0; index < targets.length; index++) {
      const target = targets[(this.#turn + index) % targets.length]
      if (target === undefined || target.isFull || tried.includes(target)) continue
      if (best === null || target.flights.size < best.flights.size) best = target
    }
    return best
  }

  #watchHold(): void {
    clearTimeout(this.#holdTimer ?? undefined)
    this.#holdTimer = null
    const { held, holdUntil } = this.record
    if (!held || holdUntil === null) return
    const waitMs = Math.min(Math.max(0, holdUntil - Date.now()), LIMITS.holdMaxMs)
    this.#holdTimer = setTimeout(() => this.#empty((parked) => parked.refuse()), waitMs)
  }

  #empty(tell: (parked: Parked) => void): void {
    const waiting = [...this.#parked]
    this.#parked.clear()
    for (const parked of waiting) tell(parked)
  }
}

function emptyCounters(): RouteCounters {
  return { requests: 0, serverErrors: 0, failures: 0, longestStallMs: 0 }
}
