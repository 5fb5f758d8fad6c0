import type { Queryable } from '../database.ts'
import type { ServiceEnvironment } from './catalog.ts'
import { appendEvents } from './events.ts'

/** Automatic deployments wait from here on. Replaces an older hold. */
export async function holdService(tx: Queryable, target: ServiceEnvironment, reason: string, by: string): Promise<void> {
  await tx.query(
    `update service_environments set hold = jsonb_build_object('reason', $2::text, 'by', $3::text, 'since',
       to_char(now() at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')) where id = $1`,
    [target.id, reason, by],
  )
  await appendEvents(tx, [{ type: 'service.held', message: reason, ...about(target), data: { by, reason } }])
}

/** False when there was no hold. */
export async function releaseHold(tx: Queryable, target: ServiceEnvironment, by: string): Promise<boolean> {
  const rows = await tx.query('update service_environments set hold = null where id = $1 and hold is not null returning id', [target.id])
  if (rows.length === 0) return false
  await appendEvents(tx, [
    { type: 'service.hold_released', message: `automatic deployments of ${target.service} go on again`, ...about(target), data: { by } },
  ])
  return true
}

function about(target: ServiceEnvironment) {
  return {
    projectId: target.projectId,
    environmentId: target.environmentId,
    serviceId: target.serviceId,
    serviceEnvironmentId: target.id,
    deploymentId: null,
    instanceId: null,
  }
}
