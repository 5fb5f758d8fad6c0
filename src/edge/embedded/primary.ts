import { ShiplockError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { Logger } from '../../core/log.ts'
import type { InstanceId, ServiceEnvironmentId } from '../../domain/ids.ts'
import type { DrainReport, Route, RouteTraffic, SwapRequest, SwapResult } from '../edge.ts'
import {
  type Change,
  giveRoutesBack,
  holdRoute,
  type Ledger,
  listRoutes,
  raiseFence,
  receiving,
  releaseRoute,
  removeRoute,
  swapRoute,
} from '../route-ledger.ts'
import type { Crew } from './crew.ts'
import type { EdgeCrashPoint } from './edge-crash-points.ts'
import { Losses, type WorkerPulse } from './losses.ts'
import { Serial } from './serial.ts'
import type { TableSnapshot, TableStep, WorkerDrain, WorkerTraffic } from './switchboard.ts'
import type { TableFile } from './table-file.ts'
import { addTraffic } from './traffic-sum.ts'

export interface DrainRequest {
  readonly routeId: ServiceEnvironmentId
  readonly instances: readonly InstanceId[]
  readonly timeoutMs: number
  readonly fence: number
}

/**
 * Owner of the table. Every change runs alone: refuse or compute, write it to disk while every worker prepares it, then let every
 * worker commit. It is acknowledged when all of them have, so no request that starts afterwards meets the old table.
 */
export class Primary {
  readonly #crew: Crew
  readonly #file: TableFile
  readonly #logger: Logger
  readonly #crashPoint: (point: EdgeCrashPoint) => void
  readonly serial = new Serial()
  readonly #losses = new Losses()
  /** Monotonic ms of the last swap of a route that this process has seen. */
  readonly #swappedAt = new Map<ServiceEnvironmentId, number>()
  #ledger: Ledger

  constructor(ledger: Ledger, crew: Crew, file: TableFile, logger: Logger, crashPoint: (point: EdgeCrashPoint) => void) {
    this.#ledger = ledger
    this.#crew = crew
    this.#file = file
    this.#logger = logger
    this.#crashPoint = crashPoint
  }

  get snapshot(): TableSnapshot {
    return { version: this.#ledger.version, routes: [...this.#ledger.routes.values()] }
  }

  read(): readonly Route[] {
    return listRoutes(this.#ledger)
  }

  async swap(request: SwapRequest): Promise<SwapResult> {
    const started = performance.now()
    const result = await this.#change(request.routeId, (ledger) => swapRoute(ledger, request))
    const flipMs = performance.now() - started
    this.#swappedAt.set(request.routeId, started)
    this.#logger.info('swap', { route: request.routeId, generation: result.generation, targets: request.targets.length, flipMs })
    return { ...result, flipMs }
  }

  /** Routes that were lost with the table come back in one step of it; nobody relies on their old targets, since there are none. */
  async giveBack(requests: readonly SwapRequest[]): Promise<readonly ServiceEnvironmentId[]> {
    const added = await this.serial.run(async () => {
      const { ledger, result } = giveRoutesBack(this.#ledger, requests)
      if (ledger === this.#ledger) return result
      await this.#file.write(ledger)
      this.#ledger = ledger
      await this.#crew.askAll('load', this.snapshot)
      return result
    })
    if (added.length > 0) this.#logger.info('routes were given back', { routes: added.length })
    return added
  }

  async hold(id: ServiceEnvironmentId, maxMs: number, fence: number): Promise<void> {
    await this.#change(id, (ledger) => holdRoute(ledger, id, fence, maxMs, Date.now()))
  }

  async release(id: ServiceEnvironmentId, fence: number): Promise<void> {
    await this.#change(id, (ledger) => releaseRoute(ledger, id, fence))
  }

  async remove(id: ServiceEnvironmentId, fence: number): Promise<void> {
    await this.#change(id, (ledger) => removeRoute(ledger, id, fence))
    this.#losses.forget(id)
    this.#swappedAt.delete(id)
  }

  async drain(request: DrainRequest): Promise<DrainReport> {
    const started = performance.now()
    const { routeId, instances } = request
    await this.#change(routeId, (ledger) => raiseFence(ledger, routeId, request.fence))
    const onRoute = receiving(this.#ledger, routeId, instances)
    if (onRoute !== null) {
      throw new ShiplockError('CONFLICT', `instance ${onRoute.instanceId} is still on route ${routeId}; swap it out first`)
    }
    const timeoutMs = Math.min(Math.max(0, request.timeoutMs), LIMITS.drainMaxMs)
    const drains = await this.#crew.askAll<WorkerDrain>(
      'drain',
      { instances, timeoutMs },
      timeoutMs + LIMITS.cutGraceMs * 2 + LIMITS.edgeWorkerAckMs,
    )
    const traffic = await this.#sum(routeId)
    // What ended with a worker that was killed or died was neither drained nor answered.
    const since = this.#swappedAt.get(routeId) ?? started
    const present = this.#ledger.routes.get(routeId)?.targets.map((target) => target.instanceId) ?? []
    return {
      requests: traffic?.requests ?? 0,
      failures: (traffic?.failures ?? 0) + this.#losses.flights(present, since),
      longestStallMs: traffic?.longestStallMs ?? 0,
      drainedConnections: drains.reduce((sum, drain) => sum + drain.drained, 0),
      cutConnections: drains.reduce((sum, drain) => sum + drain.cut, 0) + this.#losses.flights(instances, since),
      drainMs: performance.now() - started,
    }
  }

  noteLoss(pulse: WorkerPulse): void {
    this.#losses.note(pulse, performance.now())
  }

  async traffic(routeId: ServiceEnvironmentId): Promise<RouteTraffic | null> {
    const sum = await this.#sum(routeId)
    if (sum === null) return null
    const { generation, requests, serverErrors, failures, targets } = sum
    return { generation, requests, serverErrors, failures, targets }
  }

  async #sum(routeId: ServiceEnvironmentId): Promise<WorkerTraffic | null> {
    if (!this.#ledger.routes.has(routeId)) return null
    const parts = await this.#crew.askAll<WorkerTraffic | null>('traffic', { routeId })
    const generation = this.#ledger.routes.get(routeId)?.generation ?? 0
    return addTraffic(
      generation,
      [...parts, this.#losses.traffic(routeId)].filter((part) => part !== null),
    )
  }

  #change<Result>(routeId: ServiceEnvironmentId, compute: (ledger: Ledger) => Change<Result>): Promise<Result> {
    return this.serial.run(async () => {
      const { ledger, result } = compute(this.#ledger)
      if (ledger === this.#ledger) return result
      const step: TableStep = { version: ledger.version, routeId, route: ledger.routes.get(routeId) ?? null }
      this.#crashPoint('change.computed')
      // Durable before acknowledged, and before any worker serves by it: a restart can't bring back targets that were replaced.
      const [written] = await Promise.allSettled([this.#file.write(ledger), this.#crew.askAll('prepare', step)])
      if (written.status === 'rejected') throw written.reason
      this.#crashPoint('change.written-not-committed')
      this.#ledger = ledger
      await this.#crew.askAll('commit', { version: ledger.version })
      this.#crashPoint('change.committed-not-acknowledged')
      return result
    })
  }
}
