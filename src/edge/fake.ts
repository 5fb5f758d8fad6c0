import { ShiplockError } from '../core/errors.ts'
import type { InstanceId, ServiceEnvironmentId } from '../domain/ids.ts'
import type { DrainReport, Edge, EdgeHealth, Route, RouteTraffic, SwapRequest, SwapResult } from './edge.ts'
import {
  type Change,
  EMPTY_LEDGER,
  giveRoutesBack,
  holdRoute,
  type Ledger,
  listRoutes,
  raiseFence,
  receiving,
  releaseRoute,
  removeRoute,
  swapRoute,
} from './route-ledger.ts'

type Call = 'check' | 'swap' | 'giveBack' | 'drain' | 'hold' | 'release' | 'remove' | 'read' | 'traffic' | 'probe'

/** What a call does instead of what it should. */
export type EdgeFault =
  /** Nothing happened, and the caller is told so. */
  | 'refuse'
  /** It happened; the caller hears only that the connection was lost. */
  | 'lose-reply'
  /** Nothing happens and nobody answers until `heal`. */
  | 'hang'

/** An edge in memory, with the table of the real one and knobs for what can go wrong. It serves no traffic. */
export class FakeEdge implements Edge {
  readonly name = 'fake'
  readonly calls: { readonly call: Call; readonly routeId: ServiceEnvironmentId | null }[] = []
  readonly #faults = new Map<Call, { readonly fault: EdgeFault; remaining: number }>()
  readonly #hanging = new Set<() => void>()
  readonly #traffic = new Map<ServiceEnvironmentId, RouteTraffic>()
  #ledger: Ledger = EMPTY_LEDGER
  /** What the next drains report, beside the counters of `setTraffic`. */
  drainReport: Partial<DrainReport> = {}
  /** Status that probes meet; null = the instances answer 200. */
  probeStatus: number | null = null
  isHealthy = true

  /** The next `times` calls of that kind fail so. */
  fail(call: Call, fault: EdgeFault, times = 1): void {
    this.#faults.set(call, { fault, remaining: times })
  }

  /** Ends all faults; calls that hang go on. */
  heal(): void {
    this.#faults.clear()
    for (const go of this.#hanging) go()
    this.#hanging.clear()
  }

  /** What `traffic` and `drain` say about a route, until its next swap. */
  setTraffic(routeId: ServiceEnvironmentId, traffic: Partial<RouteTraffic>): void {
    const known = this.#traffic.get(routeId) ?? this.#noTraffic(routeId)
    if (known !== null) this.#traffic.set(routeId, { ...known, ...traffic })
  }

  async check(_signal: AbortSignal): Promise<EdgeHealth> {
    return await this.#act('check', null, () => ({ ok: this.isHealthy, summary: 'an edge in memory' }))
  }

  async swap(request: SwapRequest): Promise<SwapResult> {
    return await this.#act('swap', request.routeId, () => {
      const before = this.#ledger.routes.get(request.routeId)?.generation
      const result = this.#apply(swapRoute(this.#ledger, request))
      if (result.generation !== before) this.#traffic.delete(request.routeId)
      return { ...result, flipMs: 0 }
    })
  }

  async giveBack(routes: readonly SwapRequest[]): Promise<readonly ServiceEnvironmentId[]> {
    return await this.#act('giveBack', null, () => this.#apply(giveRoutesBack(this.#ledger, routes)))
  }

  async drain(
    routeId: ServiceEnvironmentId,
    instances: readonly InstanceId[],
    options: { readonly timeoutMs: number; readonly fence: number },
  ): Promise<DrainReport> {
    return await this.#act('drain', routeId, () => {
      this.#apply(raiseFence(this.#ledger, routeId, options.fence))
      const onRoute = receiving(this.#ledger, routeId, instances)
      if (onRoute !== null) throw new ShiplockError('CONFLICT', `instance ${onRoute.instanceId} is still on route ${routeId}`)
      const { requests = 0, failures = 0 } = this.#traffic.get(routeId) ?? {}
      return { requests, failures, longestStallMs: 0, drainedConnections: 0, cutConnections: 0, drainMs: 0, ...this.drainReport }
    })
  }

  async hold(routeId: ServiceEnvironmentId, options: { readonly maxMs: number; readonly fence: number }): Promise<void> {
    await this.#act('hold', routeId, () => this.#apply(holdRoute(this.#ledger, routeId, options.fence, options.maxMs, Date.now())))
  }

  async release(routeId: ServiceEnvironmentId, fence: number): Promise<void> {
    await this.#act('release', routeId, () => this.#apply(releaseRoute(this.#ledger, routeId, fence)))
  }

  async remove(routeId: ServiceEnvironmentId, fence: number): Promise<void> {
    await this.#act('remove', routeId, () => this.#apply(removeRoute(this.#ledger, routeId, fence)))
  }

  async read(): Promise<readonly Route[]> {
    return await this.#act('read', null, () => listRoutes(this.#ledger))
  }

  async traffic(routeId: ServiceEnvironmentId): Promise<RouteTraffic | null> {
    return await this.#act('traffic', routeId, () => this.#traffic.get(routeId) ?? this.#noTraffic(routeId))
  }

  urlOf(host: string, pathPrefix: string): string {
    return `http://${host}:8080${pathPrefix}`
  }

  async probe(
    host: string,
    pathPrefix: string,
    signal: AbortSignal,
  ): Promise<{ readonly generation: number | null; readonly status: number }> {
    signal.throwIfAborted()
    return await this.#act('probe', null, () => {
      const route = listRoutes(this.#ledger).find((known) => known.hosts.includes(host) && known.pathPrefix === pathPrefix)
      if (route === undefined) return { generation: null, status: 404 }
      if (route.held || route.targets.length === 0) return { generation: null, status: 503 }
      return { generation: route.generation, status: this.probeStatus ?? 200 }
    })
  }

  async #act<Result>(call: Call, routeId: ServiceEnvironmentId | null, act: () => Result): Promise<Result> {
    this.calls.push({ call, routeId })
    const fault = this.#takeFault(call)
    if (fault === 'hang') await new Promise<void>((resolve) => this.#hanging.add(resolve))
    if (fault === 'refuse') throw new ShiplockError('EDGE_UNAVAILABLE', `the fake edge was told to refuse ${call}`)
    const result = act()
    if (fault === 'lose-reply') throw new ShiplockError('EDGE_UNAVAILABLE', `the reply to ${call} was lost`)
    return result
  }

  #takeFault(call: Call): EdgeFault | null {
    const fault = this.#faults.get(call)
    if (fault === undefined || fault.remaining <= 0) return null
    fault.remaining -= 1
    return fault.fault
  }

  #apply<Result>(change: Change<Result>): Result {
    this.#ledger = change.ledger
    return change.result
  }

  #noTraffic(routeId: ServiceEnvironmentId): RouteTraffic | null {
    const route = this.#ledger.routes.get(routeId)
    if (route === undefined) return null
    const targets = route.targets.map(({ instanceId }) => ({ instanceId, inFlight: 0, requests: 0, serverErrors: 0, failures: 0 }))
    return { generation: route.generation, requests: 0, serverErrors: 0, failures: 0, targets }
  }
}
