import { LIMITS } from '../../core/limits.ts'
import type { LiveRoute, RouteWatcher } from './live-route.ts'
import type { Flight, LiveTarget } from './live-target.ts'
import type { ConnectWatcher, UpstreamConnection } from './upstream-connection.ts'

/** A request or tunnel on its way to an instance, of which not one byte was sent. */
export interface Traveller extends Flight {
  /** Where it would go now; null when its host is gone. */
  findRoute(): LiveRoute | null
  /** Claims one more target in the tick in which it is chosen. Null when there is none, or, unless `isAfresh`, its attempts are used up. */
  claimOn(route: LiveRoute, besides: readonly LiveTarget[], isAfresh: boolean): LiveTarget | null
  /** The target did not accept; it is not to be claimed again. */
  passOver(target: LiveTarget): void
  /** From here on claim and connection are the traveller's own. */
  arrived(target: LiveTarget, connection: UpstreamConnection): void
  /** None accepted, or the route is held; no claim is left. */
  stranded(): void
}

/**
 * The way to an instance that accepts a connection. An address whose owner is gone refuses nothing, packets just vanish: after a short
 * patience another target is tried beside it, and a target that leaves the route is given up at once. The first to accept wins.
 */
export class Approach implements ConnectWatcher, RouteWatcher {
  readonly #watchers: Set<RouteWatcher>
  readonly #traveller: Traveller
  readonly #underWay = new Map<UpstreamConnection, LiveTarget>()
  #isSlow = false

  /** `first` is claimed already. */
  constructor(watchers: Set<RouteWatcher>, traveller: Traveller, first: LiveTarget) {
    this.#watchers = watchers
    this.#traveller = traveller
    watchers.add(this)
    this.#connect(first)
  }

  connected(connection: UpstreamConnection): void {
    const target = this.#underWay.get(connection)
    if (target === undefined) return
    this.#underWay.delete(connection)
    this.cancel()
    this.#traveller.arrived(target, connection)
  }

  slow(): void {
    this.#isSlow = true
    this.#connectBeside()
  }

  failed(connection: UpstreamConnection) {
    const target = this.#underWay.get(connection)
    if (target === undefined) return
    this.#traveller.passOver(target)
    this.#leave(connection, target)
    if (this.#underWay.size > 0) return this.#connectBeside()
    this.#watchers.delete(this)
    this.#traveller.stranded()
  }

  routeChanged() {
    const route = this.#traveller.findRoute()
    // Gone with its targets: who is under way to one of them may still arrive.
    if (route === null || this.#underWay.size === 0) return
    const left = [...this.#underWay].filter(([, target]) => !route.targets.includes(target))
    if (left.length === this.#underWay.size) return this.#leaveAll(route)
    for (const [connection, target] of left) this.#leave(connection, target)
    if (this.#isSlow) this.#connectBeside()
  }

  /** Closes what is under way; every claim has landed afterwards. */
  cancel(): void {
    this.#watchers.delete(this)
    for (const [connection, target] of [...this.#underWay]) this.#leave(connection, target)
  }

  #leaveAll(route: LiveRoute) {
    if (route.record.held) {
      this.cancel()
      return this.#traveller.stranded()
    }
    const next = this.#traveller.claimOn(route, [], true)
    // With nowhere else to go, the target that left is still better than none.
    if (next === null) return
    for (const [connection, target] of [...this.#underWay]) this.#leave(connection, target)
    this.#isSlow = false
    this.#connect(next)
  }

  #connectBeside(): void {
    const route = this.#traveller.findRoute()
    if (route === null || route.record.held) return
    const next = this.#traveller.claimOn(route, [...this.#underWay.values()], false)
    if (next !== null) this.#connect(next)
  }

  #connect(target: LiveTarget): void {
    const connection = target.open()
    this.#underWay.set(connection, target)
    connection.watch(this, LIMITS.upstreamPatienceMs)
  }

  /** The connection goes first: a drain that this claim was the last to wait for finds nothing left. */
  #leave(connection: UpstreamConnection, target: LiveTarget): void {
    this.#underWay.delete(connection)
    connection.destroy()
    target.land(this.#traveller)
  }
}
