import type { Cache } from '../../contract/cache.ts'
import { getServiceEnvironment } from '../../store/sql/catalog.ts'
import type { Handlers } from '../route-context.ts'
import { requireService } from './scope.ts'

export const cacheHandlers: Handlers<'listCaches' | 'clearCache'> = {
  listCaches: async ({ query }, { dependencies }) => {
    const { database, caches } = dependencies
    const items: Cache[] = []
    for (const { serviceEnvironmentId, layer, bytes, madeAt, usedAt } of await caches.list()) {
      const target = await getServiceEnvironment(database, serviceEnvironmentId)
      if (target === null || (query.service !== undefined && query.service !== target.service)) continue
      if (query.project !== undefined && query.project !== target.project) continue
      if (query.environment !== undefined && query.environment !== target.environment) continue
      const { project, environment, service } = target
      items.push({ project, environment, service, layer, bytes, madeAt, usedAt })
    }
    return { items: items.sort((a, b) => b.bytes - a.bytes), next: null }
  },

  clearCache: async ({ params, query }, { dependencies }) => {
    const target = await requireService(dependencies.database, { ...query, service: params.service }, dependencies)
    return { service: target.service, layer: query.layer, ...(await dependencies.caches.clear(target.id, query.layer)) }
  },
}
