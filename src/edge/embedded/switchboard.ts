import { LIMITS } from '../../core/limits.ts'
import type { InstanceId, ServiceEnvironmentId } from '../../domain/ids.ts'
import type { RouteTraffic, Target } from '../edge.ts'
import type { RouteRecord } from '../route-ledger.ts'
import { LiveRoute, type RouteWatcher } from './live-route.ts'
import { LiveTarget } from './live-target.ts'
import type { WorkerPulse } from './losses.ts'
import { RouteIndex } from './route-index.ts'

/** One step from a table version to the next. */
export interface TableStep {
  readonly version: number
  readonly routeId: ServiceEnvironmentId
  /** Null = the route is removed. */
  readonly route: RouteRecord | null
}

export interface TableSnapshot {
  readonly version: number
  readonly routes: readonly RouteRecord[]
}

/** What one worker saw of a route; the primary adds the workers up. */
export interface WorkerTraffic extends RouteTraffic {
  readonly longestStallMs: number
}

export interface WorkerDrain {
  /** Flights that ended by themselves, and those that had to be cut. */
  readonly drained: number
  readonly cut: number
}

/** The routing table of one worker process and everything that is in flight through it. */
export class Switchboard {
  readonly #routes = new Map<ServiceEnvironmentId, LiveRoute>()
  readonly #targets = new Map<string, LiveTarget>()
  readonly #workers: number
  /** Told after every change, once all of it is visible. */
  readonly watchers = new Set<RouteWatcher>()
  #index = new RouteIndex<LiveRoute>([])
  readonly #drains = new Map<string, Promise<WorkerDrain>>()
  #prepared: TableStep | null = null
  #version = -1

  /** `workers`: how many share the bounds with this one. */
  constructor(workers: number) {
    this.#workers = workers
  }

  get version(): number {
    return this.#version
  }

  find(host: string, path: string): LiveRoute | null {
    return this.#index.find(host, path)
  }

  get parkedMax(): number {
    return Math.ceil(LIMITS.heldRequests / this.#workers)
  }

  get parked(): number {
    let count = 0
    for (const route of this.#routes.values()) count += route.parked
    return count
  }

  load(snapshot: TableSnapshot): void {
    const present = new Set(snapshot.routes.map((route) => route.id))
    this.#version = snapshot.version
    this.#prepared = null
    for (const id of [...this.#routes.keys()]) if (!present.has(id)) this.#apply(id, null)
    for (const route of snapshot.routes) this.#apply(route.id, route)
    this.#tellWatchers()
  }

  /** Phase one of a change: it is here and understood, nothing has changed yet. */
  prepare(step: TableStep): void {
    if (step.version !== this.#version + 1) throw new Error(`at table version ${this.#version}, can't prepare ${step.version}`)
    this.#prepared = step
  }

  /** Phase two: from the next request on the new targets are used. One tick, no await. */
  commit(version: number): void {
    if (version === this.#version) return
    const step = this.#prepared
    if (step === null || step.version !== version) throw new Error(`table version ${version} was not prepared`)
    this.#version = version
    this.#prepared = null
    this.#apply(step.routeId, step.route)
    this.#tellWatchers()
  }

  traffic(routeId: ServiceEnvironmentId): WorkerTraffic | null {
    const route = this.#routes.get(routeId)
    if (route === undefined) return null
    return {
      generation: route.record.generation,
      ...route.counters,
      targets: route.targets.map((target) => ({
        instanceId: target.target.instanceId,
        inFlight: target.flights.size,
        requests: target.requests,
        serverErrors: target.serverErrors,
        failures: target.failures,
      })),
    }
  }

  /** What its primary keeps of it in case it ends. */
  pulse(): WorkerPulse {
    const routes = [...this.#routes.keys()].flatMap((id) => {
      const traffic = this.traffic(id)
      return traffic === null || traffic.requests === 0 ? [] : [{ id, traffic: { ...traffic, targets: [] } }]
    })
    const inFlight = [...this.#targets.values()].flatMap(({ target, flights }) =>
      flights.size === 0 ? [] : [[target.instanceId, flights.size] as const],
    )
    return { routes, inFlight }
  }

  /**
   * Waits until nothing is in flight to the instances, cuts what is left at the deadline, then closes their idle connections. Asked again
   * meanwhile, by the next primary, it is the same drain: what was cut is counted once, and told to whoever asks last.
   */
  drain(instances: readonly InstanceId[], timeoutMs: number): Promise<WorkerDrain> {
    const key = [...instances].sort().join(' ')
    const underWay = this.#drains.get(key)
    if (underWay !== undefined) return underWay
    const begun = this.#drain(instances, timeoutMs).finally(() => this.#drains.delete(key))
    this.#drains.set(key, begun)
    return begun
  }

  async #drain(instances: readonly InstanceId[], timeoutMs: number): Promise<WorkerDrain> {
    const wanted = new Set<string>(instances)
    const leaving = [...this.#targets.values()].filter((target) => wanted.has(target.target.instanceId))
    const before = leaving.reduce((sum, target) => sum + target.flights.size, 0)
    const cutBefore = leaving.reduce((sum, target) => sum + target.cutFlights, 0)
    if (!(await allQuiet(leaving, timeoutMs))) {
      for (const target of leaving) target.cutAll()
      await allQuiet(leaving, LIMITS.cutGraceMs * 2)
    }
    // Whoever cut them: this worker's own end may have come first.
    const cut = leaving.reduce((sum, target) => sum + target.cutFlights, 0) - cutBefore
    for (const target of leaving) target.destroyIdle()
    this.#forgetUnused()
    return { drained: Math.max(0, before - cut), cut }
  }

  sweep(): void {
    const now = performance.now()
    for (const target of this.#targets.values()) target.sweep(now)
    this.#forgetUnused()
  }

  cutEverything(): void {
    for (const target of this.#targets.values()) target.cutAll()
  }

  #apply(id: ServiceEnvironmentId, record: RouteRecord | null): void {
    const current = this.#routes.get(id)
    if (record === null) {
      this.#routes.delete(id)
      this.#reindex()
      current?.retire()
      return
    }
    const targets = record.targets.map((target) => this.#liveTarget(target))
    if (current !== undefined) current.replace(record, targets)
    else this.#routes.set(id, new LiveRoute(record, targets))
    this.#reindex()
    current?.settle()
  }

  /** The same instance keeps its counters and connections from one generation to the next. */
  #liveTarget(target: Target): LiveTarget {
    const key = `${target.instanceId} ${target.host} ${target.port}`
    const known = this.#targets.get(key)
    if (known !== undefined) return known
    const made = new LiveTarget(target, Math.ceil(LIMITS.upstreamConnectionsPerTarget / this.#workers))
    this.#targets.set(key, made)
    return made
  }

  #forgetUnused(): void {
    const used = new Set<LiveTarget>()
    for (const route of this.#routes.values()) for (const target of route.targets) used.add(target)
    for (const [key, target] of this.#targets) {
      if (!used.has(target) && target.flights.size === 0 && target.idleConnections === 0) this.#targets.delete(key)
    }
  }

  #tellWatchers(): void {
    for (const watcher of [...this.watchers]) watcher.routeChanged()
  }

  #reindex(): void {
    this.#index = new RouteIndex(this.#routes.values())
  }
}

function allQuiet(targets: readonly LiveTarget[], timeoutMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    const busy = new Set(targets.filter((target) => target.flights.size > 0))
    if (busy.size === 0) return resolve(true)
    const forget: (() => void)[] = []
    const timer = setTimeout(() => {
      for (const drop of forget) drop()
      resolve(false)
    }, timeoutMs)
    for (const target of [...busy]) {
      const drop = target.onQuiet(() => {
        busy.delete(target)
        if (busy.size > 0) return
        clearTimeout(timer)
        resolve(true)
      })
      forget.push(drop)
    }
  })
}
