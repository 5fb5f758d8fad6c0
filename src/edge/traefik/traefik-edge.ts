import type { Clock } from '../../core/clock.ts'
import { ShiplockError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { InstanceId, ServiceEnvironmentId } from '../../domain/ids.ts'
import type { DrainReport, Edge, EdgeHealth, Route, RouteTraffic, SwapRequest, SwapResult } from '../edge.ts'
import { checkSwapRequest, isRouteHost } from '../swap-request.ts'
import { type DynamicDocument, dynamicDocument, type TraefikRouting } from './dynamic-document.ts'
import type { TraefikProvider } from './provider.ts'

type Probe = { readonly generation: number | null; readonly status: number }

/** The edge behind Traefik, which switches. */
export interface InnerEdge extends Edge {
  /** A request that takes the way through Traefik. `isOurs`: the inner edge answered, be it with an error page. */
  probeThrough(entry: TraefikEntry, host: string, pathPrefix: string, signal: AbortSignal): Promise<Probe & { readonly isOurs: boolean }>
}

/** Where Traefik takes requests. */
export interface TraefikEntry {
  readonly isTls: boolean
  readonly host: string
  readonly port: number
}

export interface TraefikEdgeOptions {
  readonly inner: InnerEdge
  readonly routing: () => TraefikRouting
  /** null = nobody can look through Traefik from here; then its having asked for the host has to do. */
  readonly entry: TraefikEntry | null
  /** Hosts of all services, so that Traefik mostly knows one long before its first swap. */
  readonly listHosts: () => Promise<readonly string[]>
  readonly clock: Clock
}

/**
 * Traefik in front, the embedded edge behind it as the switch (DESIGN.md §9.7): Traefik's configuration changes when a host is added and
 * never for a swap, which is therefore at once and acknowledged as without Traefik.
 */
export class TraefikEdge implements Edge {
  readonly name = 'traefik'
  readonly #options: TraefikEdgeOptions
  readonly #announced = new Set<string>()
  #provider: TraefikProvider | null = null

  constructor(options: TraefikEdgeOptions) {
    this.#options = options
  }

  /** The listener that serves `document`. */
  attach(provider: TraefikProvider): void {
    this.#provider = provider
  }

  /** What Traefik shall know now. Rejects when that can't be said: then it keeps what it has. */
  async document(): Promise<{ readonly document: DynamicDocument; readonly hosts: ReadonlySet<string> }> {
    const { inner, listHosts, routing } = this.#options
    const [known, routes] = await Promise.all([listHosts(), inner.read()])
    const hosts = new Set([...known, ...routes.flatMap((route) => route.hosts), ...this.#announced].filter(isRouteHost))
    return { document: dynamicDocument(hosts, routing()), hosts }
  }

  async check(signal: AbortSignal): Promise<EdgeHealth> {
    const inner = await this.#options.inner.check(signal)
    const polledAt = this.#provider?.polledAt ?? null
    const agoMs = polledAt === null ? null : this.#options.clock.monotonic() - polledAt
    const isSilent = agoMs === null || agoMs > LIMITS.traefikSilenceMs
    const said =
      agoMs === null ? 'has not asked for its configuration yet' : `asked for its configuration ${Math.round(agoMs / 1000)} s ago`
    const unprotected =
      this.#provider?.isOpen === true
        ? ', without the token: any app on this host can ask too until it shows it (docs/drivers.md, "Edge traefik")'
        : ''
    return { ok: inner.ok && !isSilent, summary: `Traefik ${said}${unprotected}; behind it ${inner.summary}` }
  }

  /** A host that is new is made known to Traefik first, and seen through it: nothing has been switched when that fails. @throws EDGE_FRONT_SILENT */
  /** Traefik knows their hosts by their services. */
  async giveBack(routes: readonly SwapRequest[]): Promise<readonly ServiceEnvironmentId[]> {
    return await this.#options.inner.giveBack(routes)
  }

  async swap(request: SwapRequest): Promise<SwapResult> {
    const { inner } = this.#options
    // The inner edge would say the same, after Traefik had been waited for.
    checkSwapRequest(request)
    const present = (await inner.read()).find((route) => route.id === request.routeId)
    const added = request.hosts.filter((host) => present?.hosts.includes(host) !== true)
    if (added.length === 0) return inner.swap(request)
    for (const host of added) this.#announced.add(host)
    try {
      await this.#takeOver(added, request.pathPrefix)
      return await inner.swap(request)
    } finally {
      // From now on the route itself names them, or nobody does.
      for (const host of added) this.#announced.delete(host)
    }
  }

  async #takeOver(hosts: readonly string[], pathPrefix: string): Promise<void> {
    const { clock } = this.#options
    const deadline = clock.monotonic() + LIMITS.traefikTakeoverMs
    const isTold = (await this.#provider?.untilTold(hosts, LIMITS.traefikTakeoverMs)) ?? false
    if (!isTold) throw silent(hosts, 'has not asked for its configuration')
    for (const host of hosts) await this.#untilThrough(host, pathPrefix, deadline)
  }

  async #untilThrough(host: string, pathPrefix: string, deadline: number): Promise<void> {
    const { inner, entry, clock } = this.#options
    if (entry === null) return
    let seen = 'no answer'
    for (let pauseMs = 20; clock.monotonic() < deadline; pauseMs = Math.min(pauseMs * 2, 500)) {
      try {
        const answer = await inner.probeThrough(entry, host, pathPrefix, AbortSignal.timeout(LIMITS.traefikProbeMs))
        if (answer.isOurs) return
        seen = `HTTP ${answer.status}`
      } catch (error) {
        seen = (error as Error).message
      }
      await clock.sleep(pauseMs)
    }
    throw silent([host], `does not send it here (at ${entry.host}:${entry.port}: ${seen})`)
  }

  async probe(host: string, pathPrefix: string, signal: AbortSignal): Promise<Probe> {
    const { inner, entry } = this.#options
    if (entry === null) return inner.probe(host, pathPrefix, signal)
    const { generation, status } = await inner.probeThrough(entry, host, pathPrefix, signal)
    return { generation, status }
  }

  // ── the inner edge's alone
  drain(id: ServiceEnvironmentId, instances: readonly InstanceId[], options: { timeoutMs: number; fence: number }): Promise<DrainReport> {
    return this.#options.inner.drain(id, instances, options)
  }

  hold(id: ServiceEnvironmentId, options: { maxMs: number; fence: number }): Promise<void> {
    return this.#options.inner.hold(id, options)
  }

  release(id: ServiceEnvironmentId, fence: number): Promise<void> {
    return this.#options.inner.release(id, fence)
  }

  remove(id: ServiceEnvironmentId, fence: number): Promise<void> {
    return this.#options.inner.remove(id, fence)
  }

  read(): Promise<readonly Route[]> {
    return this.#options.inner.read()
  }

  traffic(id: ServiceEnvironmentId): Promise<RouteTraffic | null> {
    return this.#options.inner.traffic(id)
  }

  urlOf(host: string, pathPrefix: string): string {
    return this.#options.inner.urlOf(host, pathPrefix)
  }
}

function silent(hosts: readonly string[], what: string): ShiplockError {
  return new ShiplockError('EDGE_FRONT_SILENT', `Traefik ${what} since ${hosts.join(', ')} was to be added; nothing was switched`)
}
