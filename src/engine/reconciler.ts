import { LIMITS } from '../core/limits.ts'
import { nextFence } from '../store/sql/leases.ts'
import { listWantedRoutes, lockWantedRoutes } from '../store/sql/upkeep.ts'
import type { EngineDependencies } from './dependencies.ts'
import { Periodic } from './periodic.ts'

/** Gives the edge back the routes that it lost with its disk. A route that it has is never touched. */
export function createReconciler(dependencies: EngineDependencies): Periodic {
  return new Periodic('reconciler', LIMITS.reconcilePeriodMs, dependencies, () => reconcile(dependencies))
}

export async function reconcile(dependencies: EngineDependencies): Promise<void> {
  const { database, drivers, logger } = dependencies
  const present = new Set((await drivers.edge.read()).map((route) => route.id))
  const missing = (await listWantedRoutes(database)).map((route) => route.id).filter((id) => !present.has(id))
  if (missing.length === 0) return
  // All of them together: one after another, hundreds of services would answer 404 for half a minute.
  await database.transaction(async (tx) => {
    const routes = await lockWantedRoutes(tx, missing)
    const fence = await nextFence(tx)
    const added = await drivers.edge.giveBack(
      routes.map(({ id, host, targets }) => ({ routeId: id, hosts: [host], pathPrefix: '', targets, fence, ifGeneration: null })),
    )
    if (added.length > 0)
      logger.warn('routes were given back to the edge', { routes: added.length, hosts: routes.map(({ host }) => host).slice(0, 20) })
  })
}
