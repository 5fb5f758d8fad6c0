import type { DeploymentId, ServiceEnvironmentId } from '../../domain/ids.ts'
import type { Queryable } from '../database.ts'
import { endLease } from './leases.ts'

/** A deployment that another one took the place of. */
export interface Replaced {
  readonly id: DeploymentId
  /** It had come to its end before: its terminal event stands already. */
  readonly hadSettled: boolean
}

/**
 * Makes a deployment the live one, in the transaction that holds the service environment's row lock. The one it replaces ends here:
 * superseded or rolled back, settled, its lease gone. Returns it; null when there was none or it was this one already.
 */
export async function setLive(
  tx: Queryable,
  change: { readonly serviceEnvironmentId: ServiceEnvironmentId; readonly deploymentId: DeploymentId; readonly isRollback: boolean },
): Promise<Replaced | null> {
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
  return replaced === null ? null : endReplaced(tx, replaced, change)
}

/** It was cut in its drain, bake or retire, or had settled long ago. A swap-back that it had decided on is void: nothing may go back to it as failed. */
async function endReplaced(
  tx: Queryable,
  id: DeploymentId,
  by: { readonly deploymentId: DeploymentId; readonly isRollback: boolean },
): Promise<Replaced | null> {
  const message = `${by.deploymentId} took its place`
  const [ended] = await tx.query<{ settled: boolean }>(
    `update deployments new set status = $2, status_reason = $3, replaced_by = $4, verdict = null, error = null,
            settled = true, settled_at = coalesce(old.settled_at, now())
       from deployments old where new.id = $1 and old.id = new.id and new.status = 'running' returning old.settled`,
    [id, by.isRollback ? 'rolled_back' : 'superseded', message, by.deploymentId],
  )
  await tx.query(
    `update stage_runs set outcome = 'canceled', reason = $2, finished_at = clock_timestamp() where deployment_id = $1 and finished_at is null`,
    [id, message],
  )
  await endLease(tx, id)
  return ended === undefined ? null : { id, hadSettled: ended.settled }
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
