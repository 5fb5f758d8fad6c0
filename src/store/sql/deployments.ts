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
import { CHANNEL, type Notice } from '../channels.ts'
import type { Queryable } from '../database.ts'
import { type DeploymentRow, toDeployment } from '../rows.ts'
import type { ServiceEnvironment } from './catalog.ts'
import { appendEvents } from './events.ts'

export interface EnqueueRequest {
  readonly kind: DeploymentKind
  readonly source: Source | null
  readonly rollbackTo: ReleaseId | null
  readonly trigger: Trigger
  readonly options: DeploymentOptions
}

/** Puts a deployment at the end of the queue, with its event, in the caller's transaction. */
export async function enqueueDeployment(tx: Queryable, target: ServiceEnvironment, request: EnqueueRequest): Promise<Deployment> {
  const [waiting] = await tx.query<{ count: number }>(
    `select count(*) as count from deployments where service_environment_id = $1 and status = 'pending'`,
    [target.id],
  )
  if ((waiting?.count ?? 0) >= LIMITS.pendingPerServiceEnvironment) {
    throw new ShiplockError('CONFLICT', `${target.service} already has ${LIMITS.pendingPerServiceEnvironment} deployments waiting`, {
      hint: 'Cancel some of them, or set trigger.queue: latest.',
    })
  }
  const id = randomId<DeploymentId>(ID_PREFIXES.DeploymentId)
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
  const notice: Notice = { kind: 'queued' }
  await tx.query('select pg_notify($1, $2)', [CHANNEL, JSON.stringify(notice)])
  await appendEvents(tx, [
    {
      type: 'deployment.queued',
      message: `${request.kind} of ${target.service} to ${target.environment} is queued`,
      projectId: target.projectId,
      environmentId: target.environmentId,
      serviceId: target.serviceId,
      serviceEnvironmentId: target.id,
      deploymentId: id,
      instanceId: null,
      data: { trigger: request.trigger, source: request.source },
    },
  ])
  return toDeployment(row)
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
