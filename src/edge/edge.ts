import type { InstanceId, ServiceEnvironmentId } from '../domain/ids.ts'

/** An instance as the edge knows it. */
export interface Target {
  readonly instanceId: InstanceId
  readonly host: string
  readonly port: number
}

/** A route is named by the service and environment that it serves. */
export interface Route {
  readonly id: ServiceEnvironmentId
  /** Lower case, no port. */
  readonly hosts: readonly string[]
  /** '' or `/prefix`; the longest matching prefix wins. */
  readonly pathPrefix: string
  readonly targets: readonly Target[]
  /** Grows by one with every swap of this route. */
  readonly generation: number
  /** The highest fence that this route has seen. */
  readonly fence: number
  readonly held: boolean
}

export interface SwapRequest {
  readonly routeId: ServiceEnvironmentId
  readonly hosts: readonly string[]
  readonly pathPrefix: string
  readonly targets: readonly Target[]
  /** Refused with FENCED when smaller than the route's. */
  readonly fence: number
  /** Refused with CONFLICT when the route has moved on; null = whatever it is. 0 = the route must not exist. */
  readonly ifGeneration: number | null
}

export interface SwapResult {
  readonly generation: number
  readonly replaced: readonly Target[]
  /** Call to acknowledgement by every worker. */
  readonly flipMs: number
}

export interface DrainReport {
  readonly requests: number
  readonly failures: number
  readonly longestStallMs: number
  readonly drainedConnections: number
  readonly cutConnections: number
  readonly drainMs: number
}

/** Counters of a route since its last swap. */
export interface RouteTraffic {
  readonly generation: number
  readonly requests: number
  /** Answers of instances with status 500–599. */
  readonly serverErrors: number
  /** The edge's own 502, 503, 504. */
  readonly failures: number
  readonly targets: readonly {
    readonly instanceId: InstanceId
    readonly inFlight: number
    readonly requests: number
    readonly serverErrors: number
    readonly failures: number
  }[]
}

export interface EdgeHealth {
  readonly ok: boolean
  readonly summary: string
}

/**
 * Routes public traffic. It owns no decision: it does what the newest fence says, atomically, and says when it is done.
 * Every call may be made twice with the same arguments.
 */
export interface Edge {
  readonly name: string
  check(signal: AbortSignal): Promise<EdgeHealth>
  /** Replaces the whole target set of a route at once. Resolves only when every new request goes to the new targets. Ends a hold. */
  swap(request: SwapRequest): Promise<SwapResult>
  /**
   * Waits until the given instances have no request in flight, or the deadline; then cuts what is left, websockets with 1012, and
   * destroys idle upstream connections. They must not be on the route any more, unless it is held. Only after it may an instance be told to stop.
   * The report covers the route's traffic since its last swap.
   */
  drain(
    routeId: ServiceEnvironmentId,
    instances: readonly InstanceId[],
    options: { readonly timeoutMs: number; readonly fence: number },
  ): Promise<DrainReport>
  /** Parks new requests of the route until the next swap, `release`, or the bound; then they get 503. */
  hold(routeId: ServiceEnvironmentId, options: { readonly maxMs: number; readonly fence: number }): Promise<void>
  release(routeId: ServiceEnvironmentId, fence: number): Promise<void>
  /** Removes a route; a missing one is success. */
  remove(routeId: ServiceEnvironmentId, fence: number): Promise<void>
  /** Adds those of these routes that are not there, all of them in one step; a route that is there is left as it is. Resolves with the ids of the added. */
  giveBack(routes: readonly SwapRequest[]): Promise<readonly ServiceEnvironmentId[]>
  /** What is really configured, for looking up after a crash. */
  read(): Promise<readonly Route[]>
  traffic(routeId: ServiceEnvironmentId): Promise<RouteTraffic | null>
  /** Where people reach a host, e.g. `http://hello.localhost:8080`. */
  urlOf(host: string, pathPrefix: string): string
  /** One request through the public listener; resolves with the generation that answered, null when it was not one of the route's targets. */
  probe(host: string, pathPrefix: string, signal: AbortSignal): Promise<{ readonly generation: number | null; readonly status: number }>
}
