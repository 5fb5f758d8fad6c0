import { redactAll } from '../core/redact.ts'
import type { Deployment, DeploymentError, DeploymentFacts, Instance, Verdict } from '../domain/deployment.ts'
import { assertMove, type DeploymentStatus, STATUS_OF_STAGE, type StageName, stageAfter } from '../domain/deployment-machine.ts'
import type { EventType, NewEvent } from '../domain/event.ts'
import { type InstanceId, instanceIdFor, releaseIdFor } from '../domain/ids.ts'
import { StageAbort, type StageOutcome, type StageRefusal } from '../stages/stage.ts'
import type { Queryable } from '../store/database.ts'
import type { ServiceEnvironment } from '../store/sql/catalog.ts'
import { findDeployment, mergeFacts } from '../store/sql/deployments.ts'
import { appendEvents } from '../store/sql/events.ts'
import { adoptInstances, markStandby, removeOtherInstances, saveInstances } from '../store/sql/instances.ts'
import { assertFence, endLease, type Lease, takeLease } from '../store/sql/leases.ts'
import { setLive } from '../store/sql/live.ts'
import { closeStageRun, openStageRun, updateDeployment } from '../store/sql/progress.ts'
import { insertRelease } from '../store/sql/releases.ts'
import { insertScan } from '../store/sql/scans.ts'
import type { EngineDependencies } from './dependencies.ts'
import { instanceVariables, secretNamesOf } from './variables.ts'
import type { Work } from './work.ts'

type PendingEvent = NewEvent & { readonly terminal?: boolean }

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
  // Sent together: what a stale owner wrote behind a refused fence is rolled back with it.
  await Promise.all([assertFence(tx, lease), closeStageRun(tx, lease, stage, outcome.kind === 'skipped' ? 'skipped' : 'done', reason)])
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
  const events: PendingEvent[] = [
    event(work, outcome.kind === 'skipped' ? 'stage.skipped' : 'stage.finished', reason, { stage }),
    ...(stage === 'build' ? [event(work, 'build.finished', reason, { skipped: outcome.kind === 'skipped' })] : []),
    ...eventsOf(work, stage, outcome),
  ]
  if (outcome.scan !== undefined) await keepScan(tx, work, outcome.scan)
  const more: Partial<DeploymentColumns> = {}
  if (stage === 'publish') more.releaseId = await makeRelease(dependencies, tx, { ...work, deployment: after }, events)
  if (stage === 'swap') await makeLive(tx, work, events)
  const next = stageAfter(stage)
  if (next === null) {
    events.push(event(work, 'deployment.settled', settledMessage(work), {}, true))
    await updateDeployment(tx, deployment.id, { facts, settled: true, statusReason: settledMessage(work) })
    await endLease(tx, deployment.id)
    await appendEvents(tx, events)
    return null
  }
  const entered = await enterStage(
    dependencies,
    tx,
    work.target,
    { ...after, releaseId: more.releaseId ?? after.releaseId },
    next,
    lease,
    more,
  )
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

export interface DeploymentColumns {
  releaseId: Deployment['releaseId']
}

/** Writes "this stage has begun": status, stage run, planned instances. Refuses when a cancel was asked for and can still be honoured. */
export async function enterStage(
  dependencies: EngineDependencies,
  tx: Queryable,
  target: ServiceEnvironment,
  deployment: Deployment,
  stage: StageName,
  lease: Pick<Lease, 'deploymentId'>,
  more: Partial<DeploymentColumns> = {},
): Promise<{ lease: Lease; events: PendingEvent[] }> {
  const status: DeploymentStatus = STATUS_OF_STAGE[stage]
  assertMove(deployment.status, status)
  const change = {
    status,
    stage,
    facts: deployment.facts,
    ...(more.releaseId === undefined || more.releaseId === null ? {} : { releaseId: more.releaseId }),
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
  if (stage === 'build') events.push(event({ target, deployment }, 'build.running', `the build of ${target.service} has begun`))
  if (stage === 'launch') await planInstances(dependencies, tx, target, deployment)
  if (stage === 'retire') await markStandby(tx, target.id, deployment.id, deployment.facts.config?.deploy.standbyMs ?? 0)
  return { lease: { deploymentId: deployment.id, fence }, events }
}

/** Rows before real things: the instances that launch is going to start, adopted ones first. */
async function planInstances(
  dependencies: EngineDependencies,
  tx: Queryable,
  target: ServiceEnvironment,
  deployment: Deployment,
): Promise<void> {
  const { releaseId, facts } = deployment
  if (releaseId === null || facts.config === null) throw new Error('launch was entered without a release')
  const count = target.instances ?? facts.config.run.instances
  const serverId = dependencies.owner.serverId
  const isAdopting = deployment.kind === 'rollback' && dependencies.drivers.runtime.capabilities.restartsStopped
  const adopted = isAdopting ? await adoptInstances(tx, { from: releaseId, to: deployment.id, serverId, count }) : []
  const fresh = Array.from({ length: count - adopted.length }, (_, place): Instance => {
    const index = adopted.length + place
    return {
      id: instanceIdFor(deployment.id, index, 0),
      deploymentId: deployment.id,
      releaseId,
      serviceEnvironmentId: target.id,
      serverId,
      index,
      state: 'starting',
      address: null,
      restarts: 0,
      standbyUntil: null,
    }
  })
  await saveInstances(tx, fresh)
}

async function makeRelease(dependencies: EngineDependencies, tx: Queryable, work: Work, events: PendingEvent[]) {
  const { facts, id, serviceEnvironmentId, trigger } = work.deployment
  if (facts.revision === null || facts.artifact === null || facts.config === null) throw new Error('publish ended without an artifact')
  const about = { target: work.target, deployment: work.deployment, release: null, config: facts.config }
  const variables = await instanceVariables(dependencies, tx, about)
  const release = await insertRelease(tx, {
    id: releaseIdFor(id),
    serviceEnvironmentId,
    deploymentId: id,
    revision: facts.revision,
    artifact: facts.artifact,
    config: facts.config,
    buildKey: facts.buildKey,
    trigger,
    sealedVariables: dependencies.sealer.seal(JSON.stringify(variables)),
    secretNames: await secretNamesOf(dependencies, tx, work.deployment, variables),
  })
  events.push(event(work, 'release.created', `v${release.number} was made`, { number: release.number, artifact: release.artifact }))
  return release.id
}

/** From here on the new deployment serves: the old one is superseded or rolled back, settled, and its worker is fenced out (I6). */
async function makeLive(tx: Queryable, work: Work, events: PendingEvent[]): Promise<void> {
  const { deployment, target } = work
  const replaced = await setLive(tx, {
    serviceEnvironmentId: target.id,
    deploymentId: deployment.id,
    isRollback: deployment.kind === 'rollback',
  })
  if (replaced !== null) {
    const type = deployment.kind === 'rollback' ? 'deployment.rolled_back' : 'deployment.superseded'
    const message = `${deployment.id} took its place`
    events.push({ ...event(work, type, message, { replacedBy: deployment.id }, !replaced.hadSettled), deploymentId: replaced.id })
  }
  events.push(
    event(work, 'deployment.running', `${target.service} serves at ${target.host}`, { release: work.release?.number ?? null }),
    event(work, 'release.active', `v${work.release?.number ?? '?'} is live`, { number: work.release?.number ?? null }),
    event(work, 'service.running', `${target.service} runs`, {}),
  )
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
  const failed = [...eventsOf(work, deployment.stage, leaves), event(work, 'stage.failed', reason, { stage: deployment.stage, code })]
  if (deployment.stage === 'build') failed.push(event(work, 'build.failed', reason, { code }))
  await appendEvents(tx, failed)
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

/** An event about the deployment at hand. */
export function event(
  about: Pick<Work, 'target' | 'deployment'>,
  type: EventType,
  message: string,
  data: Readonly<Record<string, unknown>> = {},
  terminal = false,
): PendingEvent & { instanceId: InstanceId | null } {
  const { deployment, target } = about
  return {
    type,
    message,
    projectId: target.projectId,
    environmentId: target.environmentId,
    serviceId: target.serviceId,
    serviceEnvironmentId: target.id,
    deploymentId: deployment.id,
    instanceId: null,
    data,
    terminal,
  }
}

function stageOf(deployment: Deployment): StageName {
  if (deployment.stage === null) throw new Error(`${deployment.id} is in no stage`)
  return deployment.stage
}
