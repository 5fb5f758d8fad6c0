import type { DeploymentId, InstanceId, ServerId, ServiceEnvironmentId } from '../../domain/ids.ts'
import type { ServiceConfig } from '../../domain/service-config.ts'
import type { Queryable } from '../database.ts'

export interface WantedRoute {
  readonly id: ServiceEnvironmentId
  readonly host: string
  readonly targets: readonly { readonly instanceId: InstanceId; readonly host: string; readonly port: number }[]
}

/** Every route that should exist, from what serves. */
export async function listWantedRoutes(db: Queryable): Promise<WantedRoute[]> {
  return db.query<WantedRoute>('select service_environment_id as id, host, targets from routes')
}

export interface WatchedInstance {
  readonly id: InstanceId
  readonly config: ServiceConfig
}

/** Serving instances that are the health monitor's: those of a deployment in drain or bake are watched by its own worker. */
export async function listWatched(db: Queryable, serverId: ServerId): Promise<WatchedInstance[]> {
  return db.query<WatchedInstance>(
    `select i.id, r.config from instances i join deployments d on d.id = i.deployment_id join releases r on r.id = i.release_id
      where i.state = 'serving' and i.server_id = $1 and (d.settled or d.stage = 'retire') and d.status = 'running'`,
    [serverId],
  )
}

/** Which of these deployments still mean to do something. */
export async function filterUnsettled(db: Queryable, ids: readonly DeploymentId[]): Promise<Set<DeploymentId>> {
  const rows = await db.query<{ id: DeploymentId }>('select id from deployments where id = any($1) and not settled', [ids])
  return new Set(rows.map((row) => row.id))
}

/** Which of these instances have a row that says they exist. */
export async function filterKnownInstances(db: Queryable, ids: readonly InstanceId[]): Promise<Set<InstanceId>> {
  const rows = await db.query<{ id: InstanceId }>(`select id from instances where id = any($1) and state <> 'removed'`, [ids])
  return new Set(rows.map((row) => row.id))
}

/** Service environments with more kept releases than the live one's config allows. */
export async function listOverRetention(db: Queryable): Promise<{ id: ServiceEnvironmentId; retention: number }[]> {
  return db.query(
    `select se.id, coalesce((r.config->>'retention')::int, 10) as retention
       from service_environments se
       left join deployments d on d.id = se.live_deployment_id
       left join releases r on r.id = d.release_id
      where (select count(*) from releases k where k.service_environment_id = se.id and k.deleted_at is null) > coalesce((r.config->>'retention')::int, 10) + 1`,
  )
}

/** True while a deployment may hold an artifact that no row names yet. Takes the claim lock: nothing new begins until commit. */
export async function isBuilding(tx: Queryable): Promise<boolean> {
  await tx.query('select pg_advisory_xact_lock(7302)')
  const rows = await tx.query(`select 1 from deployments where status in ('cloning', 'building') limit 1`)
  return rows.length > 0
}

export async function setStatusReason(db: Queryable, id: DeploymentId, reason: string): Promise<void> {
  await db.query(`update deployments set status_reason = $2 where id = $1 and status = 'running'`, [id, reason])
}
