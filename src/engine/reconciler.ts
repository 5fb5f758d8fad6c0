import { LIMITS } from '../core/limits.ts'
import type { Edge } from '../edge/edge.ts'
import { lockServiceEnvironment } from '../store/sql/catalog.ts'
import { nextFence } from '../store/sql/leases.ts'
import { listWantedRoutes, type WantedRoute } from '../store/sql/upkeep.ts'
import type { EngineDependencies } from './dependencies.ts'
import { Periodic } from './periodic.ts'

/** Gives the edge back the routes that it lost with its disk. A route that it has is never touched. */
export function createReconciler(dependencies: EngineDependencies): Periodic {
  return new Periodic('reconciler', LIMITS.reconcilePeriodMs, dependencies, () => reconcile(dependencies))
}

export async function reconcile(dependencies: EngineDependencies): Promise<void> {
  const { edge } = dependencies.drivers
  const present = new Set((await edge.read()).map((route) => route.id))
  for (const route of await listWantedRoutes(dependencies.database)) if (!present.has(route.id)) await giveBack(dependencies, edge, route)
}

async function giveBack(dependencies: EngineDependencies, edge: Edge, seen: WantedRoute): Promise<void> {
  await dependencies.database.transaction(async (tx) => {
    await lockServiceEnvironment(tx, seen.id)
    const route = (await listWantedRoutes(tx)).find((wanted) => wanted.id === seen.id)
    if (route === undefined || (await edge.read()).some((known) => known.id === seen.id)) return
    const fence = await nextFence(tx)
    await edge.swap({ routeId: route.id, hosts: [route.host], pathPrefix: '', targets: route.targets, fence, ifGeneration: null })
    dependencies.logger.warn('a route was given back to the edge', { host: route.host })
  })
}
