import type { ServiceEnvironmentId } from '../../domain/ids.ts'
import type { Queryable } from '../../store/database.ts'
import { lockServiceEnvironment } from '../../store/sql/catalog.ts'
import { appendEvents } from '../../store/sql/events.ts'
import { setWantedInstances } from '../../store/sql/upkeep.ts'

/**
 * Says how many instances are wanted; null = as the configuration says. The scaler brings it about, and every step of it is an event.
 * Wanting what is wanted already changes nothing.
 */
export async function scale(
  tx: Queryable,
  id: ServiceEnvironmentId,
  request: { readonly instances: number | null; readonly actor: string },
): Promise<void> {
  const target = await lockServiceEnvironment(tx, id)
  const { instances, actor } = request
  if (instances === target.instances) return
  await setWantedInstances(tx, target.id, instances)
  const wanted = instances === null ? 'as many instances as its configuration says' : `${instances} instances`
  const { projectId, environmentId, serviceId } = target
  const about = { projectId, environmentId, serviceId, serviceEnvironmentId: target.id, deploymentId: null, instanceId: null }
  const message = `${actor} wants ${wanted} of ${target.service}`
  await appendEvents(tx, [{ type: 'service.scaled', message, ...about, data: { wanted: instances, by: actor } }])
}
