import { ShiplockError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import { randomId } from '../../core/random-id.ts'
import {
  type Deployment,
  type DeploymentFacts,
  type DeploymentKind,
  type DeploymentOptions,
  EMPTY_FACTS,
  type Source,
  type Trigger,
} from '../../domain/deployment.ts'
import { isPastNoReturn } from '../../domain/deployment-machine.ts'
import { type DeploymentId, ID_PREFIXES, type ReleaseId } from '../../domain/ids.ts'
import { type Absorption, absorbedBy, type Queued, type QueuePolicy } from '../../domain/queue-rules.ts'
import { CHANNEL, type Notice } from '../channels.ts'
import type { Queryable } from '../database.ts'
import { type DeploymentRow, toDeployment } from '../rows.ts'
import type { ServiceEnvironment } from './catalog.ts'
import { readDeployRules } from './deploy-rules.ts'
import { appendEvents } from './events.ts'

export interface EnqueueRequest {
  readonly kind: DeploymentKind
  readonly source: Source | null
  readonly rollbackTo: ReleaseId | null
  readonly trigger: Trigger
  readonly options: DeploymentOptions
  /** Left out: as the service environment's rules say. */
  readonly queue?: QueuePolicy
}

/**
 * Puts a deployment at the end of the queue, with its event, in the caller's transaction, which holds the service environment's row lock.
 * Older ones that it takes the place of (`absorbedBy`) end in the same transaction.
 */
export async function enqueueDeployment(tx: Queryable, target: ServiceEnvironment, request: EnqueueRequest): Promise<Deployment> {
  const [waiting] = await tx.query<{ count: number; isRemoving: boolean }>(
    `select count(*) as count, (select removing_at is not null from service_environments where id = $1) as "isRemoving"
       from deployments where service_environment_id = $1 and status = 'pending'`,
    [target.id],
  )
  if (waiting?.isRemoving !== false) {
    throw new ShiplockError('CONFLICT', `${target.service} is being removed from ${target.environment}`, {
      hint: 'Deploy it again once it is gone.',
    })
  }
  const id = randomId<DeploymentId>(ID_PREFIXES.DeploymentId)
  const absorbed = await listAbsorbed(tx, target, { id, ...request })
  if ((waiting?.count ?? 0) - absorbed.length >= LIMITS.pendingPerServiceEnvironment) {
    throw new ShiplockError('CONFLICT', `${target.service} already has ${LIMITS.pendingPerServiceEnvironment} deployments waiting`, {
      hint: 'Cancel some of them, or set trigger.queue: latest.',
    })
  }
  const [row] = await tx.query<DeploymentRow>(
    `insert into deployments (id, project_id, environment_id, service_id, service_environment_id, kind, source, trigger, options, rollback_to, facts)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) returning *`,
    [
      id,
      target.projectId,
      target.environmentId,
      target.serviceId,
      target.id,
      request.kind,
      request.source === null ? null : JSON.stringify(request.source),
      JSON.stringify(request.trigger),
      JSON.stringify(request.options),
      request.rollbackTo,
      JSON.stringify(EMPTY_FACTS),
    ],
  )
  if (row === undefined) throw new Error('a deployment was not written')
  await tx.query('insert into log_ends (deployment_id) values ($1)', [id])
  const ended = await endAbsorbed(tx, target, id, absorbed)
  const notice: Notice = { kind: 'queued' }
  await tx.query('select pg_notify($1, $2)', [CHANNEL, JSON.stringify(notice)])
  const { overrideFreeze = null } = request.options
  await appendEvents(tx, [
    {
      type: 'deployment.queued',
      message: `${request.kind} of ${target.service} to ${target.environment} is queued`,
      ...scopeOf(target, id),
      data: {
        trigger: request.trigger,
        source: request.source,
        ...(overrideFreeze === null ? {} : { overrideFreeze }),
        ...(absorbed.length === 0 ? {} : { absorbed: absorbed.map((older) => older.id) }),
      },
    },
    ...ended,
  ])
  return toDeployment(row)
}

/** Locked until commit. One that is just being claimed or canceled is left alone. */
async function listAbsorbed(
  tx: Queryable,
  target: ServiceEnvironment,
  newcomer: Queued & Pick<EnqueueRequest, 'queue'>,
): Promise<readonly Absorption[]> {
  if (newcomer.kind !== 'deploy') return []
  const policy = newcomer.queue ?? (await readDeployRules(tx, target.id)).queue
  if (policy !== 'latest' && (newcomer.options.overrideFreeze ?? null) === null) return []
  const waiting = await tx.query<Queued>(
    `select id, kind, source, trigger, options from deployments where service_environment_id = $1 and status = 'pending'
      order by position for update skip locked`,
    [target.id],
  )
  return absorbedBy(newcomer, waiting, policy)
}

async function endAbsorbed(tx: Queryable, target: ServiceEnvironment, by: DeploymentId, absorbed: readonly Absorption[]) {
  if (absorbed.length === 0) return []
  await tx.query(
    `update deployments d set status = 'superseded', status_reason = a.reason, replaced_by = $2, settled = true, settled_at = now()
       from jsonb_to_recordset($1::jsonb) as a(id text, reason text) where d.id = a.id`,
    [JSON.stringify(absorbed.map(({ id, reason }) => ({ id, reason: `${by} took its place: ${reason}` }))), by],
  )
  return absorbed.map(({ id, reason }) => ({
    type: 'deployment.absorbed' as const,
    message: `${by} took its place: ${reason}`,
    ...scopeOf(target, id),
    data: { by },
    terminal: true,
  }))
}

function scopeOf(target: ServiceEnvironment, deploymentId: DeploymentId) {
  return {
    projectId: target.projectId,
    environmentId: target.environmentId,
    serviceId: target.serviceId,
    serviceEnvironmentId: target.id,
    deploymentId,
    instanceId: null,
  }
}

export async function findDeployment(db: Queryable, id: DeploymentId): Promise<Deployment | null> {
  const [row] = await db.query<DeploymentRow>('select * from deployments where id = $1', [id])
  return row === undefined ? null : toDeployment(row)
}

/**
 * Asks for a cancel. Pending: canceled at once. Before the swap: recorded, and the worker that has it carries it out.
 * From the swap on, and once settled: refused with CANCEL_REFUSED. Asking twice is success.
 */
export async function requestCancel(tx: Queryable, id: DeploymentId, by: string): Promise<Deployment> {
  const [row] = await tx.query<DeploymentRow>('select * from deployments where id = $1 for update', [id])
  if (row === undefined) throw new ShiplockError('NOT_FOUND', `no deployment ${id}`)
  const deployment = toDeployment(row)
  if (deployment.status === 'canceled' || deployment.cancelRequested) return deployment
  if (deployment.settled || deployment.verdict !== null) {
    throw new ShiplockError('CANCEL_REFUSED', `${id} has already ended: ${deployment.status}`, { hint: 'There is nothing left to cancel.' })
  }
  if (isPastNoReturn(deployment.stage)) {
    throw new ShiplockError('CANCEL_REFUSED', `${id} is past the swap: the new version already takes traffic`)
  }
  const pending = deployment.status === 'pending'
  const [updated] = await tx.query<DeploymentRow>(
    pending
      ? `update deployments set status = 'canceled', status_reason = $2, settled = true, settled_at = now(), cancel_requested_at = now(), verdict = 'canceled'
          where id = $1 returning *`
      : `update deployments set cancel_requested_at = now(), status_reason = $2 where id = $1 returning *`,
    [id, pending ? `canceled by ${by} while it waited` : `${by} asked to cancel`],
  )
  if (updated === undefined) throw new Error('a cancel was not written')
  const scope = {
    projectId: row.project_id,
    environmentId: row.environment_id,
    serviceId: row.service_id,
    serviceEnvironmentId: row.service_environment_id,
    deploymentId: id,
    instanceId: null,
  }
  const notice: Notice = { kind: 'cancel', deploymentId: id }
  await tx.query('select pg_notify($1, $2)', [CHANNEL, JSON.stringify(notice)])
  await appendEvents(tx, [
    pending
      ? { type: 'deployment.canceled', message: `canceled by ${by} while it waited`, ...scope, data: { by }, terminal: true }
      : { type: 'deployment.cancel_requested', message: `${by} asked to cancel`, ...scope, data: { by } },
  ])
  return toDeployment(updated)
}

/** Facts are merged key by key; what a stage does not name stays. */
export function mergeFacts(facts: DeploymentFacts, more: Partial<DeploymentFacts>): DeploymentFacts {
  return { ...facts, ...more, warnings: [...facts.warnings, ...(more.warnings ?? [])] }
}
