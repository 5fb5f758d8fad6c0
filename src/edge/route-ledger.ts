import { ShiplockError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { InstanceId, ServiceEnvironmentId } from '../domain/ids.ts'
import type { Route, SwapRequest, Target } from './edge.ts'
import { checkSwapRequest } from './swap-request.ts'

/** A route with what must survive a restart beside what `Edge.read` shows. */
export interface RouteRecord extends Route {
  /** End of the hold, ms since the epoch; null unless held. */
  readonly holdUntil: number | null
  /** What the last swap replaced, so that a repeated swap gives the same answer. */
  readonly replaced: readonly Target[]
}

/** What is remembered of a removed route: a stale owner must not bring it back (I6), and its generations are not reused. */
export interface Tombstone {
  readonly id: ServiceEnvironmentId
  readonly fence: number
  readonly generation: number
}

/** Every route, immutable. `version` grows by one with each change, whatever the route. */
export interface Ledger {
  readonly version: number
  readonly routes: ReadonlyMap<ServiceEnvironmentId, RouteRecord>
  readonly tombstones: ReadonlyMap<ServiceEnvironmentId, Tombstone>
}

/** The outcome of a call: the ledger after it (the same object when nothing changed). */
export interface Change<Result> {
  readonly ledger: Ledger
  readonly result: Result
}

export const EMPTY_LEDGER: Ledger = { version: 0, routes: new Map(), tombstones: new Map() }

/** Adds what is missing; a route that is there, or that can't be added (a larger fence has removed it, its host is another's), is left out. */
export function giveRoutesBack(ledger: Ledger, requests: readonly SwapRequest[]): Change<readonly ServiceEnvironmentId[]> {
  const added: ServiceEnvironmentId[] = []
  let next = ledger
  for (const request of requests) {
    if (next.routes.has(request.routeId)) continue
    try {
      next = swapRoute(next, request).ledger
      added.push(request.routeId)
    } catch (error) {
      // One that is refused must not keep the others away.
      if (!(error instanceof ShiplockError)) throw error
    }
  }
  return { ledger: next, result: added }
}

/** Replaces the target set. A repeat with the same content, by the same owner or its successor, keeps the generation. */
export function swapRoute(
  ledger: Ledger,
  request: SwapRequest,
): Change<{ readonly generation: number; readonly replaced: readonly Target[] }> {
  checkSwapRequest(request)
  const fence = fenced(ledger, request.routeId, request.fence)
  const current = ledger.routes.get(request.routeId)
  if (current !== undefined && isSameContent(current, request)) {
    const kept: RouteRecord = { ...current, fence, held: false, holdUntil: null }
    return {
      ledger: current.fence === fence && !current.held ? ledger : put(ledger, kept),
      result: { generation: current.generation, replaced: current.replaced },
    }
  }
  if (request.ifGeneration !== null && request.ifGeneration !== (current?.generation ?? 0)) {
    throw new ShiplockError(
      'CONFLICT',
      `route ${request.routeId} is at generation ${current?.generation ?? 0}, the swap expected ${request.ifGeneration}`,
    )
  }
  refuseForeignHosts(ledger, request)
  const before = current?.generation ?? ledger.tombstones.get(request.routeId)?.generation ?? 0
  const record: RouteRecord = {
    id: request.routeId,
    hosts: [...request.hosts],
    pathPrefix: request.pathPrefix,
    targets: request.targets.map(({ instanceId, host, port }) => ({ instanceId, host, port })),
    generation: before + 1,
    fence,
    held: false,
    holdUntil: null,
    replaced: current?.targets ?? [],
  }
  return { ledger: put(ledger, record), result: { generation: record.generation, replaced: record.replaced } }
}

/** Parks the route's new requests until `now + maxMs`. Holding a held route moves the end. */
export function holdRoute(ledger: Ledger, id: ServiceEnvironmentId, fence: number, maxMs: number, now: number): Change<void> {
  const highest = fenced(ledger, id, fence)
  const current = ledger.routes.get(id)
  if (current === undefined) throw new ShiplockError('NOT_FOUND', `the edge has no route ${id}`)
  const holdUntil = now + Math.min(Math.max(0, maxMs), LIMITS.holdMaxMs)
  return { ledger: put(ledger, { ...current, fence: highest, held: true, holdUntil }), result: undefined }
}

/** Ends a hold without a swap; a route that is not held, or not there, is success. */
export function releaseRoute(ledger: Ledger, id: ServiceEnvironmentId, fence: number): Change<void> {
  const highest = fenced(ledger, id, fence)
  const current = ledger.routes.get(id)
  if (current === undefined || (!current.held && current.fence === highest)) return { ledger, result: undefined }
  return { ledger: put(ledger, { ...current, fence: highest, held: false, holdUntil: null }), result: undefined }
}

/** Forgets the route but not its fence. A missing route is success. */
export function removeRoute(ledger: Ledger, id: ServiceEnvironmentId, fence: number): Change<void> {
  const highest = fenced(ledger, id, fence)
  const current = ledger.routes.get(id)
  const stone = ledger.tombstones.get(id)
  if (current === undefined && stone !== undefined && stone.fence === highest) return { ledger, result: undefined }
  const routes = new Map(ledger.routes)
  routes.delete(id)
  const tombstones = new Map(ledger.tombstones)
  tombstones.delete(id)
  tombstones.set(id, { id, fence: highest, generation: current?.generation ?? stone?.generation ?? 0 })
  const oldest = tombstones.keys().next().value
  if (tombstones.size > LIMITS.edgeTombstones && oldest !== undefined) tombstones.delete(oldest)
  return { ledger: { version: ledger.version + 1, routes, tombstones }, result: undefined }
}

/** Takes note of a newer owner without changing what serves; `drain` is such a call. */
export function raiseFence(ledger: Ledger, id: ServiceEnvironmentId, fence: number): Change<void> {
  const highest = fenced(ledger, id, fence)
  const current = ledger.routes.get(id)
  if (current === undefined || current.fence === highest) return { ledger, result: undefined }
  return { ledger: put(ledger, { ...current, fence: highest }), result: undefined }
}

/** The first of the instances that may get a new request; those of a held route get none until the hold ends. */
export function receiving(ledger: Ledger, id: ServiceEnvironmentId, instances: readonly InstanceId[]): Target | null {
  const route = ledger.routes.get(id)
  if (route === undefined || route.held) return null
  return route.targets.find((target) => instances.includes(target.instanceId)) ?? null
}

/** What `Edge.read` shows. */
export function listRoutes(ledger: Ledger): readonly Route[] {
  return [...ledger.routes.values()].map(({ id, hosts, pathPrefix, targets, generation, fence, held }) => ({
    id,
    hosts,
    pathPrefix,
    targets,
    generation,
    fence,
    held,
  }))
}

function fenced(ledger: Ledger, id: ServiceEnvironmentId, fence: number): number {
  if (!Number.isSafeInteger(fence) || fence < 0) {
    throw new ShiplockError('INPUT_INVALID', `fence: ${fence} is not a whole number of 0 or more`)
  }
  const highest = Math.max(ledger.routes.get(id)?.fence ?? 0, ledger.tombstones.get(id)?.fence ?? 0)
  if (fence < highest) {
    throw new ShiplockError('FENCED', `route ${id}: fence ${fence} is older than ${highest}`, { details: { fence, highest } })
  }
  return fence
}

function put(ledger: Ledger, record: RouteRecord): Ledger {
  const routes = new Map(ledger.routes).set(record.id, record)
  if (!ledger.tombstones.has(record.id)) return { version: ledger.version + 1, routes, tombstones: ledger.tombstones }
  const tombstones = new Map(ledger.tombstones)
  tombstones.delete(record.id)
  return { version: ledger.version + 1, routes, tombstones }
}

function isSameContent(record: RouteRecord, request: SwapRequest): boolean {
  return (
    record.pathPrefix === request.pathPrefix &&
    sameList(record.hosts, request.hosts, (a, b) => a === b) &&
    sameList(record.targets, request.targets, (a, b) => a.instanceId === b.instanceId && a.host === b.host && a.port === b.port)
  )
}

function sameList<Item>(left: readonly Item[], right: readonly Item[], isSame: (a: Item, b: Item) => boolean): boolean {
  return left.length === right.length && left.every((a) => right.some((b) => isSame(a, b)))
}

/** One host and prefix belong to one route: a second claim would take another project's traffic (I10). */
function refuseForeignHosts(ledger: Ledger, request: SwapRequest): void {
  for (const other of ledger.routes.values()) {
    if (other.id === request.routeId || other.pathPrefix !== request.pathPrefix) continue
    const taken = request.hosts.find((host) => other.hosts.includes(host))
    if (taken !== undefined) {
      throw new ShiplockError('CONFLICT', `${taken}${request.pathPrefix} is already routed to another service`, {
        hint: 'Give the service another host name or path prefix.',
      })
    }
  }
}
