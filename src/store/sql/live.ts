import type { DeploymentId, ServiceEnvironmentId } from '../../domain/ids.ts'
import type { Queryable } from '../database.ts'

/**
 * Makes a deployment the live one, in the transaction that holds the service environment's row lock. The one it replaces ends here:
 * superseded or rolled back, settled, its lease gone. Returns its id; null when there was none or it was this one already.
 */
export async function setLive(
  tx: Queryable,
  change: { readonly serviceEnvironmentId: ServiceEnvironmentId; readonly deploymentId: DeploymentId; readonly isRollback: boolean },
): Promise<DeploymentId | null> {
  const [before] = await tx.query<{ live: DeploymentId | null }>(
    `update service_environments new set live_deployment_id = $2, previous_deployment_id = old.live_deployment_id
       from service_environments old where new.id = $1 and old.id = new.id and new.live_deployment_id is distinct from $2
     returning old.live_deployment_id as live`,
    [change.serviceEnvironmentId, change.deploymentId],
  )
  await tx.query(
    `with d as (update deployments set swapped_at = coalesce(swapped_at, now()) where id = $1 returning release_id)
     update releases r set first_live_at = coalesce(first_live_at, now()) from d where r.id = d.release_id`,
    [change.deploymentId],
  )
  const replaced = before?.live ?? null
  if (replaced === null) return null
  const status = change.isRollback ? 'rolled_back' : 'superseded'
  const ended = await tx.query(
    `update deployments set status = $2, status_reason = $3, replaced_by = $4, settled = true, settled_at = coalesce(settled_at, now())
      where id = $1 and status = 'running' returning id`,
    [replaced, status, `${change.deploymentId} took its place`, change.deploymentId],
  )
  await tx.query('delete from leases where deployment_id = $1', [replaced])
  return ended.length > 0 ? replaced : null
}

/** The way back of `setLive`: the previous deployment serves again. */
export async function setLiveBack(
  tx: Queryable,
  change: { readonly serviceEnvironmentId: ServiceEnvironmentId; readonly from: DeploymentId; readonly to: DeploymentId },
): Promise<void> {
  await tx.query('update service_environments set live_deployment_id = $2, previous_deployment_id = null where id = $1', [
    change.serviceEnvironmentId,
    change.to,
  ])
  await tx.query(
    `update deployments set status = 'running', status_reason = $2, replaced_by = null where id = $1 and status in ('superseded', 'rolled_back')`,
    [change.to, `serves again: ${change.from} failed after its swap`],
  )
}
