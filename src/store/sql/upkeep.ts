import type { DeploymentId, EnvironmentId, InstanceId, ReleaseId, ServerId, ServiceEnvironmentId } from '../../domain/ids.ts'
import type { ServiceConfig } from '../../domain/service-config.ts'
import type { Queryable } from '../database.ts'
import { CLAIM_LOCK } from './claim.ts'
import { onSameNode } from './servers.ts'

export interface WantedRoute {
  readonly id: ServiceEnvironmentId
  readonly host: string
  readonly targets: readonly { readonly instanceId: InstanceId; readonly host: string; readonly port: number }[]
}

/** Every route that should exist, from what serves. */
export async function listWantedRoutes(db: Queryable): Promise<WantedRoute[]> {
  return db.query<WantedRoute>('select service_environment_id as id, host, targets from routes')
}

/**
 * Those of these that are still wanted, with their route locks. One that somebody else has locked is being changed by him, and is left to the
 * next round. Always in the same order, so that two who lock several never wait for each other.
 */
export async function lockWantedRoutes(tx: Queryable, ids: readonly ServiceEnvironmentId[]): Promise<WantedRoute[]> {
  const locked = await tx.query<{ id: ServiceEnvironmentId }>(
    'select id from service_environments where id = any($1) order by id for update skip locked',
    [ids],
  )
  return tx.query<WantedRoute>('select service_environment_id as id, host, targets from routes where service_environment_id = any($1)', [
    locked.map(({ id }) => id),
  ])
}

export interface WatchedInstance {
  readonly id: InstanceId
  readonly deploymentId: DeploymentId
  readonly config: ServiceConfig
}

/** A deployment with temporaryShutdown has stopped, or is about to stop, what serves there: nobody else may start it again meanwhile. */
const shutDownAt = (serviceEnvironment: '$1' | 'i.service_environment_id') =>
  `exists (select 1 from deployments s where s.service_environment_id = ${serviceEnvironment} and s.slot is not null
     and s.stage in ('launch', 'verify', 'swap') and (s.facts->'config'->'deploy'->>'temporaryShutdown')::boolean)`

export async function isShutDown(tx: Queryable, id: ServiceEnvironmentId): Promise<boolean> {
  const [row] = await tx.query<{ down: boolean }>(`select ${shutDownAt('$1')} as down`, [id])
  return row?.down ?? false
}

/** Serving instances of the server's node that are the health monitor's: those of a deployment in drain or bake are watched by its own worker. */
export async function listWatched(db: Queryable, serverId: ServerId): Promise<WatchedInstance[]> {
  return db.query<WatchedInstance>(
    `select i.id, i.deployment_id as "deploymentId", r.config from instances i join deployments d on d.id = i.deployment_id join releases r on r.id = i.release_id
      where i.state = 'serving' and ${onSameNode('i.server_id', '$1')} and (d.settled or d.stage = 'retire') and d.status = 'running'
        and not ${shutDownAt('i.service_environment_id')}`,
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
    `select se.id, allowed.retention
       from service_environments se
       join projects p on p.id = se.project_id
       left join deployments d on d.id = se.live_deployment_id
       left join releases r on r.id = coalesce(d.release_id, d.rollback_to)
       cross join lateral (select least(coalesce((r.config->>'retention')::int, 10), (p.limits->>'retention')::int) as retention) allowed
      where (select count(*) from releases k where k.service_environment_id = se.id and k.deleted_at is null) > allowed.retention + 1`,
  )
}

/** True while a deployment may hold an artifact that no row names yet. Takes the claim lock: nothing new begins until commit. */
export async function isBuilding(tx: Queryable): Promise<boolean> {
  await tx.query('select pg_advisory_xact_lock($1)', [CLAIM_LOCK])
  const rows = await tx.query(`select 1 from deployments where status in ('cloning', 'building') limit 1`)
  return rows.length > 0
}

export async function setStatusReason(db: Queryable, id: DeploymentId, reason: string): Promise<void> {
  await db.query(`update deployments set status_reason = $2 where id = $1 and status = 'running'`, [id, reason])
}

export interface Misscaled {
  readonly id: ServiceEnvironmentId
  readonly deploymentId: DeploymentId
  readonly releaseId: ReleaseId
  readonly config: ServiceConfig
  readonly wanted: number
  readonly serving: number
}

/** Service environments of this server's node whose live deployment is at rest and has not as many serving instances as wanted. */
export async function listMisscaled(db: Queryable, serverId: ServerId): Promise<Misscaled[]> {
  return db.query<Misscaled>(
    `select * from (
       select se.id, d.id as "deploymentId", r.id as "releaseId", r.config,
              coalesce(se.instances, (r.config->'run'->>'instances')::int) as wanted,
              (select count(*)::int from instances i where i.deployment_id = d.id and i.state = 'serving') as serving
         from service_environments se
         join deployments d on d.id = se.live_deployment_id
         join releases r on r.id = d.release_id
        where d.settled and d.status = 'running' and se.removing_at is null
          and exists (select 1 from instances i where i.deployment_id = d.id and i.state = 'serving' and ${onSameNode('i.server_id', '$1')})
          and not exists (select 1 from instances i where i.deployment_id = d.id and i.state = 'serving' and not ${onSameNode('i.server_id', '$1')})
          and not exists (select 1 from deployments p where p.service_environment_id = se.id and p.slot is not null)) at_rest
      where wanted <> serving`,
    [serverId],
  )
}

/**
 * True while no deployment is under way there, and none begins before commit. Not waited for: a claim that is just being made may itself
 * wait for the row that the caller has locked.
 */
export async function isAtRest(tx: Queryable, id: ServiceEnvironmentId): Promise<boolean> {
  const [lock] = await tx.query<{ ours: boolean }>('select pg_try_advisory_xact_lock($1) as ours', [CLAIM_LOCK])
  if (lock?.ours !== true) return false
  return (await tx.query('select 1 from deployments where service_environment_id = $1 and slot is not null limit 1', [id])).length === 0
}

/** How many instances are wanted whatever the config says; null = as the config says. */
export async function setWantedInstances(tx: Queryable, id: ServiceEnvironmentId, instances: number | null): Promise<void> {
  await tx.query('update service_environments set instances = $2 where id = $1', [id, instances])
}

/** An instance that scaling has taken off the route and that still runs; its deployment is live and at rest. */
export interface Leaving {
  readonly id: ServiceEnvironmentId
  readonly instanceId: InstanceId
  readonly config: ServiceConfig
}

/** What a cut scaling left of those that leave. */
export async function listLeaving(db: Queryable, serverId: ServerId): Promise<Leaving[]> {
  return db.query<Leaving>(
    `select se.id, i.id as "instanceId", r.config
       from instances i
       join service_environments se on se.live_deployment_id = i.deployment_id
       join deployments d on d.id = i.deployment_id
       join releases r on r.id = d.release_id
      where i.state = 'warm' and ${onSameNode('i.server_id', '$1')} and d.settled and se.removing_at is null
        and not exists (select 1 from deployments p where p.service_environment_id = se.id and p.slot is not null)`,
    [serverId],
  )
}

/** Instances that a cut scaling left: to be added to what no longer serves. */
export async function listStranded(db: Queryable, serverId: ServerId): Promise<InstanceId[]> {
  const rows = await db.query<{ id: InstanceId }>(
    `select i.id from instances i join deployments d on d.id = i.deployment_id join service_environments se on se.id = i.service_environment_id
      where ${onSameNode('i.server_id', '$1')} and d.settled
        and i.state in ('starting', 'ready') and se.live_deployment_id is distinct from d.id`,
    [serverId],
  )
  return rows.map((row) => row.id)
}

/** Uploads that a deployment may still fetch. */
export async function listNeededUploads(db: Queryable): Promise<Set<string>> {
  const rows = await db.query<{ digest: string }>(
    `select source->>'digest' as digest from deployments where not settled and source->>'kind' = 'upload'`,
  )
  return new Set(rows.map((row) => row.digest))
}

export async function forgetUpload(db: Queryable, digest: string): Promise<void> {
  await db.query('delete from uploads where digest = $1', [digest])
}

/** Which of these still exist, previews and those on their way out too. */
export async function filterEnvironments(db: Queryable, ids: readonly EnvironmentId[]): Promise<ReadonlySet<EnvironmentId>> {
  const rows = await db.query<{ id: EnvironmentId }>('select id from environments where id = any($1)', [ids])
  return new Set(rows.map((row) => row.id))
}
