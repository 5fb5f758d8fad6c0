import type { Instance } from '../../domain/deployment.ts'
import type { DeploymentId, InstanceId, ReleaseId, ServerId, ServiceEnvironmentId } from '../../domain/ids.ts'
import type { InstanceState } from '../../domain/instance-machine.ts'
import type { Queryable } from '../database.ts'
import { type InstanceRow, toInstance } from '../rows.ts'
import { onSameNode } from './servers.ts'

/** All that still exist of a service environment, by index. */
export async function listInstances(db: Queryable, id: ServiceEnvironmentId): Promise<Instance[]> {
  const rows = await db.query<InstanceRow>(
    `select * from instances where service_environment_id = $1 and state <> 'removed' order by index, id`,
    [id],
  )
  return rows.map(toInstance)
}

export async function findInstance(db: Queryable, id: InstanceId): Promise<Instance | null> {
  const [row] = await db.query<InstanceRow>('select * from instances where id = $1', [id])
  return row === undefined ? null : toInstance(row)
}

/** How many instances that index of a deployment has had, removed ones too. */
export async function countInstancesAt(db: Queryable, deploymentId: DeploymentId, index: number): Promise<number> {
  const [row] = await db.query<{ count: number }>('select count(*) as count from instances where deployment_id = $1 and index = $2', [
    deploymentId,
    index,
  ])
  return row?.count ?? 0
}

/** Writes rows as a stage left them; a new id (a replacement made by verify) is added. */
export async function saveInstances(tx: Queryable, instances: readonly Instance[]): Promise<void> {
  const written = instances.map((instance) =>
    tx.query(
      `insert into instances (id, deployment_id, release_id, service_environment_id, server_id, index, state, host, port, restarts, standby_until)
       values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
       on conflict (id) do update set deployment_id = excluded.deployment_id, server_id = excluded.server_id, index = excluded.index, state = excluded.state, host = excluded.host,
         port = excluded.port, restarts = excluded.restarts, standby_until = excluded.standby_until, updated_at = now()`,
      [
        instance.id,
        instance.deploymentId,
        instance.releaseId,
        instance.serviceEnvironmentId,
        instance.serverId,
        instance.index,
        instance.state,
        instance.address?.host ?? null,
        instance.address?.port ?? null,
        instance.restarts,
        instance.standbyUntil,
      ],
    ),
  )
  await Promise.all(written)
}

/** Rows of a deployment that no longer stand for anything: other ids than those given, same deployment. */
export async function removeOtherInstances(tx: Queryable, deploymentId: DeploymentId, kept: readonly InstanceId[]): Promise<void> {
  await tx.query(
    `update instances set state = 'removed', updated_at = now() where deployment_id = $1 and id <> all($2) and state <> 'removed'`,
    [deploymentId, kept],
  )
}

/**
 * Takes over up to `count` stopped or warm instances of a release for a rollback; warm ones first. Locked until commit. Not those of a
 * deployment that is clearing them away.
 */
export async function adoptInstances(
  tx: Queryable,
  request: { readonly from: ReleaseId; readonly to: DeploymentId; readonly serverId: ServerId; readonly count: number },
): Promise<Instance[]> {
  const rows = await tx.query<InstanceRow>(
    `with found as (select id, row_number() over (order by state = 'warm' desc, index, id) - 1 as place from
            (select id, state, index from instances where release_id = $1 and ${onSameNode('server_id', '$3')} and state in ('warm', 'standby')
              and not exists (select 1 from deployments d where d.id = deployment_id and not d.settled and d.verdict is not null) for update) open
           limit $4)
     update instances i set deployment_id = $2, index = found.place, state = 'starting', standby_until = null, updated_at = now()
       from found where i.id = found.id returning i.*`,
    [request.from, request.to, request.serverId, request.count],
  )
  return rows.map(toInstance).sort((a, b) => a.index - b.index)
}

/** Marks what a swap replaced as standby, before anything is stopped: a rollback that adopts it afterwards draws a newer fence. */
export async function markStandby(
  tx: Queryable,
  serviceEnvironmentId: ServiceEnvironmentId,
  except: DeploymentId,
  standbyMs: number,
): Promise<void> {
  await tx.query(
    `update instances set state = 'standby', standby_until = now() + make_interval(secs => $3), updated_at = now()
      where service_environment_id = $1 and deployment_id <> $2 and state = 'warm'`,
    [serviceEnvironmentId, except, standbyMs / 1000],
  )
}

/** Instances of the server's node whose standby is over. */
export async function listExpiredStandby(db: Queryable, serverId: ServerId): Promise<Instance[]> {
  const rows = await db.query<InstanceRow>(
    `select * from instances where state = 'standby' and ${onSameNode('server_id', '$1')} and standby_until < now() order by standby_until limit 100`,
    [serverId],
  )
  return rows.map(toInstance)
}

/** Moves one instance if it is still in the state that was seen. False = it moved on meanwhile. */
export async function moveInstance(tx: Queryable, id: InstanceId, from: InstanceState, to: InstanceState): Promise<boolean> {
  const rows = await tx.query('update instances set state = $3, updated_at = now() where id = $1 and state = $2 returning id', [
    id,
    from,
    to,
  ])
  return rows.length > 0
}
