import { lockServiceEnvironment } from '../../store/sql/catalog.ts'
import { appendEvents } from '../../store/sql/events.ts'
import { setWantedInstances } from '../../store/sql/upkeep.ts'
import type { Handlers } from '../route-context.ts'
import { viewService } from '../views.ts'
import { requireService } from './scope.ts'
import { readService } from './services.ts'

export const scaleHandlers: Handlers<'scaleService'> = {
  /** Only says what is wanted; the engine's scaler brings it about, and every step of it is an event. */
  scaleService: ({ params, query, body }, { dependencies, actor, once }) =>
    once(async (tx) => {
      const found = await requireService(tx, { ...query, ...params }, dependencies)
      const target = await lockServiceEnvironment(tx, found.id)
      const { instances } = body
      if (instances !== target.instances) {
        await setWantedInstances(tx, target.id, instances)
        const wanted = instances === null ? 'as many instances as its configuration says' : `${instances} instances`
        await appendEvents(tx, [
          {
            type: 'service.scaled',
            message: `${actor.name} wants ${wanted} of ${target.service}`,
            projectId: target.projectId,
            environmentId: target.environmentId,
            serviceId: target.serviceId,
            serviceEnvironmentId: target.id,
            deploymentId: null,
            instanceId: null,
            data: { wanted: instances, by: actor.name },
          },
        ])
      }
      return viewService(await readService(tx, { ...query, ...params }, dependencies), dependencies.urlOf)
    }),
}
