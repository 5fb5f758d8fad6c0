import { redactAll } from '../core/redact.ts'
import type { Deployment, DeploymentError, DeploymentFacts, Instance, Verdict } from '../domain/deployment.ts'
import { assertMove, type DeploymentStatus, STATUS_OF_STAGE, type StageName, stageAfter } from '../domain/deployment-machine.ts'
import type { EventType } from '../domain/event.ts'
import { StageAbort, type StageOutcome, type StageRefusal } from '../stages/stage.ts'
import type { Queryable } from '../store/database.ts'
import type { ServiceEnvironment } from '../store/sql/catalog.ts'
import { findDeployment, mergeFacts } from '../store/sql/deployments.ts'
import { appendEvents } from '../store/sql/events.ts'
import { removeOtherInstances, saveInstances } from '../store/sql/instances.ts'
import { assertFence, endLease, type Lease, takeLease } from '../store/sql/leases.ts'
import { closeStageRun, openStageRun, updateDeployment } from '../store/sql/progress.ts'
import { insertScan } from '../store/sql/scans.ts'
import type { EngineDependencies } from './dependencies.ts'
import { event, type PendingEvent } from './deployment-event.ts'
import { EFFECTS } from './stage-effects.ts'
import type { Work } from './work.ts'

/**
 * The only writer of outcomes. A stage's result, its events and the entry into the next stage are one transaction, under the fence:
 * after a crash the deployment stands exactly at the stage that was cut. Returns the lease with its new, larger fence; null = settled.
 */
export async function commitStage(
  dependencies: EngineDependencies,
  tx: Queryable,
  work: Work,
  outcome: StageOutcome,
): Promise<Lease | null> {
  const { deployment, lease } = work
  const stage = stageOf(deployment)
  const reason = work.redact(outcome.reason)
  const isSkipped = outcome.kind === 'skipped'
  // Sent together: what a stale owner wrote behind a refused fence is rolled back with it.
  await Promise.all([assertFence(tx, lease), closeStageRun(tx, lease, stage, isSkipped ? 'skipped' : 'done', reason)])
  const facts = mergeFacts(deployment.facts, withoutSecrets(outcome.facts ?? {}, work))
  const after: Deployment = { ...deployment, facts }
  if (outcome.instances !== undefined) {
    await saveInstances(
      tx,
      outcome.instances.map((instance) => whereItRuns(dependencies, deployment, instance)),
    )
    const own = outcome.instances.filter((instance) => instance.deploymentId === deployment.id)
    if (own.length > 0)
      await removeOtherInstances(
        tx,
        deployment.id,
        own.map((instance) => instance.id),
      )
  }
  const left = await EFFECTS[stage]?.leave?.(tx, { dependencies, work: { ...work, deployment: after }, isSkipped, reason })
  const events: PendingEvent[] = [
    event(work, isSkipped ? 'stage.skipped' : 'stage.finished', reason, { stage }),
    ...eventsOf(work, stage, outcome),
    ...(left?.events ?? []),
  ]
  if (outcome.scan !== undefined) await keepScan(tx, work, outcome.scan)
  const next = stageAfter(stage)
  if (next === null) {
    events.push(event(work, 'deployment.settled', settledMessage(work), {}, true))
    await updateDeployment(tx, deployment.id, { facts, settled: true, statusReason: settledMessage(work) })
    await endLease(tx, deployment.id)
    await appendEvents(tx, events)
    return null
  }
  const releaseId = left?.releaseId ?? null
  const entered = await enterStage(dependencies, tx, work.target, { ...after, releaseId: releaseId ?? after.releaseId }, next, lease)
  await appendEvents(tx, [...events, ...entered.events])
  return entered.lease
}

function eventsOf(work: Work, stage: StageName | null, found: Pick<StageOutcome, 'events' | 'facts'>): PendingEvent[] {
  return [
    ...(found.events ?? []).map((more) => ({
      ...event(work, more.type, work.redact(more.message), redactAll(more.data, work.redact)),
      instanceId: more.instanceId,
    })),
    ...(found.facts?.warnings ?? []).map((warning) => event(work, 'deployment.warning', work.redact(warning), { stage })),
  ]
}

async function keepScan(tx: Queryable, { deployment, redact }: Work, scan: NonNullable<StageOutcome['scan']>): Promise<void> {
  const { id: deploymentId, projectId } = deployment
  await insertScan(tx, { deploymentId, projectId, subject: scan.subject, report: redactAll(scan.report, redact) })
}

/** Until it serves, an instance belongs to whoever works on its deployment: a rescuer looked it up, or started it, on its own machine. */
function whereItRuns({ owner }: EngineDependencies, deployment: Deployment, instance: Instance): Instance {
  const isOwn = instance.deploymentId === deployment.id && (instance.state === 'starting' || instance.state === 'ready')
  return isOwn ? { ...instance, serverId: owner.serverId } : instance
}

/** What apps answered and printed may hold their secrets (I8). */
function withoutSecrets(facts: Partial<DeploymentFacts>, { redact }: Work): Partial<DeploymentFacts> {
  const { attempts, warnings, scan } = facts
  return {
    ...facts,
    ...(scan == null ? {} : { scan: redactAll(scan, redact) }),
    ...(attempts === undefined ? {} : { attempts: redactAll(attempts, redact) }),
    ...(warnings === undefined ? {} : { warnings: warnings.map(redact) }),
  }
}

/** Writes "this stage has begun": status, stage run, planned instances. Refuses when a cancel was asked for and can still be honoured. */
export async function enterStage(
  dependencies: EngineDependencies,
  tx: Queryable,
  target: ServiceEnvironment,
  deployment: Deployment,
  stage: StageName,
  lease: Pick<Lease, 'deploymentId'>,
): Promise<{ lease: Lease; events: PendingEvent[] }> {
  const status: DeploymentStatus = STATUS_OF_STAGE[stage]
  assertMove(deployment.status, status)
  const change = {
    status,
    stage,
    facts: deployment.facts,
    ...(deployment.releaseId === null ? {} : { releaseId: deployment.releaseId }),
    statusReason: '',
    isSlotFree: status === 'running',
  }
  const [canceled, fence] = await Promise.all([
    updateDeployment(tx, deployment.id, change),
    takeLease(tx, lease.deploymentId, dependencies.owner),
  ])
  if (canceled && status !== 'running') throw new StageAbort('canceled')
  await openStageRun(tx, { deploymentId: deployment.id, fence }, stage)
  const events = [event({ target, deployment }, 'stage.started', `${stage} has begun`, { stage })]
  const more = (await EFFECTS[stage]?.enter?.(tx, { dependencies, target, deployment })) ?? []
  return { lease: { deploymentId: deployment.id, fence }, events: [...events, ...more] }
}

function settledMessage(work: Work): string {
  return `${work.target.service} ${work.release === null ? '' : `v${work.release.number} `}is live`
}

/** Decides that the deployment ends. From then on only undo and settling are left, also after a crash. */
export async function commitVerdict(
  tx: Queryable,
  work: Work,
  verdict: Verdict,
  error: DeploymentError | null,
  reason: string,
  leaves: StageRefusal['leaves'] = {},
): Promise<void> {
  const { deployment, lease } = work
  await assertFence(tx, lease)
  // A repeat after a commit whose reply was lost.
  if ((await findDeployment(tx, deployment.id))?.verdict != null) return
  if (deployment.stage !== null) await closeStageRun(tx, lease, deployment.stage, verdict, reason)
  const facts = leaves.facts === undefined ? {} : { facts: mergeFacts(deployment.facts, withoutSecrets(leaves.facts, work)) }
  await updateDeployment(tx, deployment.id, { verdict, error, statusReason: reason, ...facts })
  if (leaves.scan !== undefined) await keepScan(tx, work, leaves.scan)
  if (verdict !== 'failed') return
  const code = error?.code ?? null
  const failed = event(work, 'stage.failed', reason, { stage: deployment.stage, code })
  const more = (deployment.stage === null ? undefined : EFFECTS[deployment.stage]?.fail?.(work, reason, code)) ?? []
  await appendEvents(tx, [...eventsOf(work, deployment.stage, leaves), failed, ...more])
}

/** Undo is done: the deployment ends as decided and its slot is free. */
export async function commitEnding(tx: Queryable, work: Work, instances: readonly Instance[]): Promise<void> {
  const { deployment, lease } = work
  const { verdict } = deployment
  if (verdict === null) throw new Error('an ending without a verdict')
  await assertFence(tx, lease)
  assertMove(deployment.status, verdict)
  await saveInstances(tx, instances)
  await updateDeployment(tx, deployment.id, { status: verdict, settled: true, isSlotFree: true })
  await endLease(tx, deployment.id)
  const type: EventType = verdict === 'failed' ? 'deployment.failed' : 'deployment.canceled'
  const data = deployment.error === null ? {} : { code: deployment.error.code, hint: deployment.error.hint, stage: deployment.error.stage }
  await appendEvents(tx, [event(work, type, deployment.statusReason, data, true)])
}

function stageOf(deployment: Deployment): StageName {
  if (deployment.stage === null) throw new Error(`${deployment.id} is in no stage`)
  return deployment.stage
}
