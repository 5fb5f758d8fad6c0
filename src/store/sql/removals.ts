import { ShiplockError } from '../../core/errors.ts'
import type { Instance } from '../../domain/deployment.ts'
import { isPastNoReturn, type StageName } from '../../domain/deployment-machine.ts'
import type { NewEvent } from '../../domain/event.ts'
import type { DeploymentId, EnvironmentId, ProjectId, ServerId, ServiceEnvironmentId, ServiceId } from '../../domain/ids.ts'
import type { ServiceConfig } from '../../domain/service-config.ts'
import { CHANNEL, type Notice } from '../channels.ts'
import type { Queryable } from '../database.ts'
import { type InstanceRow, toInstance } from '../rows.ts'
import { lockServiceEnvironment, type ServiceEnvironment } from './catalog.ts'
import { requestCancel } from './deployments.ts'
import { appendEvents } from './events.ts'
import { onSameNode } from './servers.ts'

export interface RemovalRequest {
  readonly by: string
  /** What waits or is under way is canceled; without it that is a CONFLICT. */
  readonly isCanceling: boolean
  /** One sentence for the event log; left out = who asked. */
  readonly reason?: string
}

/**
 * Puts a service in an environment on its way out, in the transaction that holds its row lock. From here on nothing new is deployed there;
 * what serves goes on until a server takes it away. Asking twice is success. Throws CONFLICT while a deployment is unsettled.
 */
export async function beginRemoval(tx: Queryable, target: ServiceEnvironment, request: RemovalRequest): Promise<void> {
  await endDeployments(tx, target, request)
  const rows = await tx.query(
    'update service_environments set removing_at = now(), removing_by = $2 where id = $1 and removing_at is null returning id',
    [target.id, request.by],
  )
  if (rows.length === 0) return
  const message = `${target.service} leaves ${target.environment}: ${request.reason ?? `${request.by} asked for it`}`
  await appendEvents(tx, [{ type: 'service.removing', message, ...scopeOf(target), data: { by: request.by } }])
  await wakeRemover(tx)
}

/** What is past its swap settles by itself, and is waited for. */
async function endDeployments(tx: Queryable, target: ServiceEnvironment, { by, isCanceling }: RemovalRequest): Promise<void> {
  const open = await tx.query<{ id: DeploymentId; stage: StageName | null; verdict: string | null }>(
    'select id, stage, verdict from deployments where service_environment_id = $1 and not settled order by position for update',
    [target.id],
  )
  if (open.length > 0 && !isCanceling) {
    const ids = open.map(({ id }) => id)
    throw new ShiplockError('CONFLICT', `${target.service} in ${target.environment} is being deployed: ${ids.slice(0, 3).join(', ')}`, {
      hint: 'Wait for its end, or cancel it with the removal (--cancel).',
      details: { deployments: ids.slice(0, 20) },
    })
  }
  for (const { id, stage, verdict } of open) if (verdict === null && !isPastNoReturn(stage)) await requestCancel(tx, id, by)
}

/** The same for a whole environment. False when there is none of that id. */
export async function beginEnvironmentRemoval(tx: Queryable, id: EnvironmentId, request: RemovalRequest): Promise<boolean> {
  // Waits for whoever is just adding a service to it, and keeps out those who come later.
  const [found] = await tx.query<{ name: string; projectId: ProjectId; isRemoving: boolean }>(
    `select name, project_id as "projectId", removing_at is not null as "isRemoving" from environments where id = $1 for update`,
    [id],
  )
  if (found === undefined) return false
  for (const service of await listServicesOf(tx, id)) await beginRemoval(tx, await lockServiceEnvironment(tx, service), request)
  if (found.isRemoving) return true
  await tx.query('update environments set removing_at = now(), removing_by = $2 where id = $1', [id, request.by])
  const message = `environment ${found.name} is being removed: ${request.reason ?? `${request.by} asked for it`}`
  await appendEvents(tx, [environmentEvent('environment.removing', message, { id, projectId: found.projectId }, request.by)])
  await wakeRemover(tx)
  return true
}

async function listServicesOf(tx: Queryable, id: EnvironmentId): Promise<ServiceEnvironmentId[]> {
  const rows = await tx.query<{ id: ServiceEnvironmentId }>('select id from service_environments where environment_id = $1 order by id', [
    id,
  ])
  return rows.map((row) => row.id)
}

async function wakeRemover(tx: Queryable): Promise<void> {
  const notice: Notice = { kind: 'removal' }
  await tx.query('select pg_notify($1, $2)', [CHANNEL, JSON.stringify(notice)])
}

/** What is on its way out and has no deployment under way any more, oldest request first. */
export async function listRemovals(db: Queryable): Promise<ServiceEnvironmentId[]> {
  const rows = await db.query<{ id: ServiceEnvironmentId }>(
    `select se.id from service_environments se where se.removing_at is not null
        and not exists (select 1 from deployments d where d.service_environment_id = se.id and not d.settled)
      order by se.removing_at limit 100`,
  )
  return rows.map((row) => row.id)
}

/** Under its row lock: still on its way out, nothing under way. */
export async function isRemovable(tx: Queryable, id: ServiceEnvironmentId): Promise<boolean> {
  const rows = await tx.query(
    `select 1 from service_environments se where se.id = $1 and se.removing_at is not null
        and not exists (select 1 from deployments d where d.service_environment_id = se.id and not d.settled)`,
    [id],
  )
  return rows.length > 0
}

export interface RemovedInstance {
  readonly instance: Instance
  readonly config: ServiceConfig
}

/** Instances of this server's node that still exist, with what their release says of stopping. */
export async function listInstancesToRemove(
  tx: Queryable,
  id: ServiceEnvironmentId,
  serverId: ServerId,
): Promise<readonly RemovedInstance[]> {
  const rows = await tx.query<InstanceRow & { config: ServiceConfig }>(
    `select i.*, r.config from instances i join releases r on r.id = i.release_id
      where i.service_environment_id = $1 and i.state <> 'removed' and ${onSameNode('i.server_id', '$2')} order by i.index, i.id`,
    [id, serverId],
  )
  return rows.map((row) => ({ instance: toInstance(row), config: row.config }))
}

/** Nothing is live there any more. What served runs on, off the route, until it is stopped. */
export async function takeOffline(tx: Queryable, target: ServiceEnvironment, instances: readonly Instance[]): Promise<void> {
  const message = `${target.service} was removed from ${target.environment}`
  const ended = await tx.query<{ id: DeploymentId }>(
    `update deployments set status = 'superseded', status_reason = $2 where service_environment_id = $1 and status = 'running' returning id`,
    [target.id, message],
  )
  await tx.query('update service_environments set live_deployment_id = null, previous_deployment_id = null where id = $1', [target.id])
  await tx.query(`update instances set state = 'warm', updated_at = now() where id = any($1) and state = 'serving'`, [
    instances.map((instance) => instance.id),
  ])
  await appendEvents(
    tx,
    ended.map(({ id }) => ({ type: 'deployment.superseded' as const, message, ...scopeOf(target), deploymentId: id, data: {} })),
  )
}

export async function markInstancesRemoved(tx: Queryable, instances: readonly Instance[]): Promise<void> {
  await tx.query(`update instances set state = 'removed', updated_at = now() where id = any($1)`, [instances.map(({ id }) => id)])
}

const ROWS_OF_SERVICE = [
  'delete from instances where service_environment_id = $1',
  'update deployments set release_id = null, rollback_to = null, replaced_by = null where service_environment_id = $1',
  'delete from releases where service_environment_id = $1',
  'delete from deployments where service_environment_id = $1',
  'delete from service_environments where id = $1',
] as const

/**
 * The end: no row is left, so what was built is garbage and the host name is free. Events and the audit log stay. False while an instance
 * exists, here or on another node. With the last service of an environment that is being removed goes the environment; with its last
 * environment goes a service, unless a webhook, a deploy key, a variable of another scope or a preview speaks for its return.
 */
export async function finishRemoval(tx: Queryable, seen: ServiceEnvironment): Promise<boolean> {
  // In the order in which a deployment takes them.
  await tx.query('select 1 from services where id = $1 for update', [seen.serviceId])
  await tx.query('select 1 from environments where id = $1 for update', [seen.environmentId])
  const target = await lockServiceEnvironment(tx, seen.id)
  const [left] = await tx.query(`select 1 from instances where service_environment_id = $1 and state <> 'removed' limit 1`, [target.id])
  if (left !== undefined || !(await isRemovable(tx, target.id))) return false
  for (const statement of ROWS_OF_SERVICE) await tx.query(statement, [target.id])
  const by = target.removing?.by ?? ''
  const message = `${target.service} is gone from ${target.environment}`
  await appendEvents(tx, [{ type: 'service.removed', message, ...scopeOf(target), data: { by, host: target.host } }])
  await deleteIdleService(tx, target.serviceId, target.environmentId)
  await finishEnvironmentRemoval(tx, target.environmentId)
  return true
}

async function deleteIdleService(tx: Queryable, id: ServiceId, environmentId: EnvironmentId): Promise<void> {
  await tx.query(
    `delete from services s where s.id = $1
        and not exists (select 1 from service_environments se where se.service_id = s.id)
        and not exists (select 1 from webhooks w where w.service_id = s.id)
        and not exists (select 1 from deploy_keys k where k.service_id = s.id)
        and not exists (select 1 from variables v where v.service_id = s.id and v.environment_id is distinct from $2)
        and not exists (select 1 from environments e where e.id = $2 and e.is_preview)`,
    [id, environmentId],
  )
}

/** False when it is not on its way out, or something is left in it. */
export async function finishEnvironmentRemoval(tx: Queryable, id: EnvironmentId): Promise<boolean> {
  await tx.query('select 1 from environments where id = $1 for update', [id])
  const [gone] = await tx.query<{ name: string; projectId: ProjectId; by: string }>(
    `delete from environments e where e.id = $1 and e.removing_at is not null
        and not exists (select 1 from service_environments se where se.environment_id = e.id)
     returning e.name, e.project_id as "projectId", e.removing_by as by`,
    [id],
  )
  if (gone === undefined) return false
  await appendEvents(tx, [
    environmentEvent('environment.removed', `environment ${gone.name} is gone`, { id, projectId: gone.projectId }, gone.by),
  ])
  return true
}

/** Those without a service, which no removal of a service would end. */
export async function listEmptyRemovals(db: Queryable): Promise<EnvironmentId[]> {
  const rows = await db.query<{ id: EnvironmentId }>(
    `select id from environments e where removing_at is not null
        and not exists (select 1 from service_environments se where se.environment_id = e.id) limit 100`,
  )
  return rows.map((row) => row.id)
}

function scopeOf(target: ServiceEnvironment) {
  return {
    projectId: target.projectId,
    environmentId: target.environmentId,
    serviceId: target.serviceId,
    serviceEnvironmentId: target.id,
    deploymentId: null,
    instanceId: null,
  }
}

function environmentEvent(
  type: 'environment.removing' | 'environment.removed',
  message: string,
  { id, projectId }: { readonly id: EnvironmentId; readonly projectId: ProjectId },
  by: string,
): NewEvent {
  return {
    type,
    message,
    projectId,
    environmentId: id,
    serviceId: null,
    serviceEnvironmentId: null,
    deploymentId: null,
    instanceId: null,
    data: { by },
  }
}
