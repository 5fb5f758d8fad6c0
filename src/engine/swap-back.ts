import { crashPoint } from '../core/crash-points.ts'
import { ERRORS, type ShiplockError, toShiplockError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { redactLines } from '../core/redact.ts'
import type { DeploymentError, Instance } from '../domain/deployment.ts'
import type { EventType } from '../domain/event.ts'
import type { DeploymentId } from '../domain/ids.ts'
import { logTailOf } from '../stages/instance-labels.ts'
import { isOnRoute, targetsOf } from '../stages/swap.ts'
import { waitReady } from '../stages/wait-ready.ts'
import type { Queryable } from '../store/database.ts'
import { lockServiceEnvironment } from '../store/sql/catalog.ts'
import { findDeployment } from '../store/sql/deployments.ts'
import { appendEvents } from '../store/sql/events.ts'
import { markStandby, saveInstances } from '../store/sql/instances.ts'
import { assertFence, assertOwned, endLease, type Lease, nextFence, takeLease } from '../store/sql/leases.ts'
import { setLiveBack } from '../store/sql/live.ts'
import { clearVerdict, closeStageRun, updateDeployment } from '../store/sql/progress.ts'
import { findRelease } from '../store/sql/releases.ts'
import { enterStage } from './commit.ts'
import type { EngineDependencies } from './dependencies.ts'
import { event } from './deployment-event.ts'
import type { LogWriter } from './log-writer.ts'
import { instanceSpec } from './stage-context.ts'
import { loadWork, type Work } from './work.ts'

/**
 * A failed bake: the warm old instances take the traffic again, then the new ones are drained and removed. Three recorded steps, one a
 * round, each of which may be the first after a crash: decided (verdict), swapped back (status failed, the previous one running), settled.
 */
export async function decideSwapBack(dependencies: EngineDependencies, work: Work, log: LogWriter, trouble: string): Promise<Lease> {
  const reason = work.redact(trouble)
  log.write('engine', `trouble after the swap: ${reason}`, null)
  const tails = await Promise.all(work.instances.map((instance) => logTailOf(dependencies, instance.id, LIMITS.errorLogTailLines)))
  const error: DeploymentError = {
    code: 'BAKE_FAILED',
    message: reason,
    hint: ERRORS.BAKE_FAILED.hint,
    stage: 'bake',
    logTail: redactLines(tails.flat(), work.redact).slice(-LIMITS.errorLogTailLines),
    attempts: [],
  }
  await dependencies.database.transaction(async (tx) => {
    await assertFence(tx, work.lease)
    await closeStageRun(tx, work.lease, 'bake', 'failed', reason)
    await updateDeployment(tx, work.deployment.id, { verdict: 'failed', error, statusReason: reason })
    await appendEvents(tx, [event(work, 'stage.failed', reason, { stage: 'bake', code: error.code })])
  })
  crashPoint('swap-back.decided')
  return work.lease
}

/** The two steps after the decision. Null = settled. */
export async function swapBack(dependencies: EngineDependencies, work: Work, log: LogWriter): Promise<Lease | null> {
  if (work.deployment.status === 'running') {
    const onward = await turnRoute(dependencies, work, log)
    crashPoint('swap-back.recorded')
    return onward
  }
  await clearAway(dependencies, work)
  await settle(dependencies, work)
  crashPoint('settle.recorded')
  return null
}

/** The way back is barred for good: the deployment stays live and says why. */
export function abandonSwapBack(dependencies: EngineDependencies, work: Work, why: ShiplockError): Promise<Lease> {
  return dependencies.database.transaction(async (tx) => {
    await assertFence(tx, work.lease)
    return stayLive(dependencies, tx, work, `the previous version could not be brought back: ${work.redact(why.message)}`)
  })
}

/** The edge call and its record under the route's lock. Waking, which may take long, comes before it and is checked again under it. */
async function turnRoute(dependencies: EngineDependencies, work: Work, log: LogWriter): Promise<Lease> {
  const { database, drivers, owner } = dependencies
  const awake = await wake(dependencies, work, await wayBackOf(database, work))
  return database.transaction(async (tx) => {
    const target = await lockServiceEnvironment(tx, work.target.id)
    await assertOwned(tx, work.lease)
    const now: Work = { ...(await loadWork(dependencies, tx, work.lease)), target }
    const stillThere = new Set((await wayBackOf(tx, now)).map((instance) => instance.id))
    const ready = await stillRunning(
      dependencies,
      awake.filter((instance) => stillThere.has(instance.id)),
    )
    const previousId = target.previousDeploymentId as DeploymentId | null
    if (target.liveDeploymentId !== work.deployment.id || previousId === null || ready.length === 0) {
      await assertFence(tx, work.lease)
      return stayLive(dependencies, tx, now, 'there is no earlier version left to swap back to')
    }
    const targets = targetsOf(ready)
    const route = (await drivers.edge.read()).find((known) => known.id === target.id)
    if (!isOnRoute(route, targets)) {
      const fence = await nextFence(tx)
      await drivers.edge.swap({ routeId: target.id, hosts: [target.host], pathPrefix: '', targets, fence, ifGeneration: null })
    }
    crashPoint('swap-back.edge-acknowledged')
    log.write('engine', `the previous version serves again (${previousId})`, null)
    await assertFence(tx, work.lease)
    const fence = await takeLease(tx, work.deployment.id, owner)
    await recordBack(tx, now, previousId, ready)
    return { deploymentId: work.deployment.id, fence }
  })
}

/** The warm instances of the previous deployment; if a rollback that failed has stopped them meanwhile, the standby of its release. */
async function wayBackOf(db: Queryable, { target, others }: Work): Promise<Instance[]> {
  const previousId = target.previousDeploymentId as DeploymentId | null
  const previous = previousId === null ? null : await findDeployment(db, previousId)
  if (previous === null) return []
  const warm = others.filter((instance) => instance.deploymentId === previous.id && instance.state === 'warm')
  return warm.length > 0 ? warm : others.filter((instance) => instance.releaseId === previous.releaseId && instance.state === 'standby')
}

/** Warm instances normally just run; one that died meanwhile is started and must be ready, by its own release's check, before it takes traffic (I2). */
async function wake(dependencies: EngineDependencies, work: Work, back: readonly Instance[]): Promise<Instance[]> {
  const woken = await Promise.all(
    back.map((instance) =>
      wakeOne(dependencies, work, instance).catch((error: unknown) => {
        if (toShiplockError(error).info.actor === 'retry') throw error
        dependencies.logger.warn('an old instance could not be woken', { instanceId: instance.id, error })
        return null
      }),
    ),
  )
  return woken.filter((instance) => instance !== null)
}

async function wakeOne(dependencies: EngineDependencies, work: Work, instance: Instance): Promise<Instance | null> {
  const { database, clock } = dependencies
  const { runtime } = dependencies.drivers
  const status = await runtime.inspect(instance.id)
  if (status.state === 'running') return { ...instance, address: status.address }
  const release = await findRelease(database, instance.releaseId)
  if (release === null) return null
  const signal = AbortSignal.timeout(LIMITS.wakeMs)
  await runtime.start(await instanceSpec(dependencies, database, work.target, instance), work.lease.fence, signal)
  const readiness = await waitReady(instance, release.config.deploy.readinessCheck, { runtime, clock, signal })
  return readiness.ready ? { ...instance, address: readiness.address } : null
}

async function stillRunning(dependencies: EngineDependencies, instances: readonly Instance[]): Promise<Instance[]> {
  const { runtime } = dependencies.drivers
  const statuses = await Promise.all(instances.map((instance) => runtime.inspect(instance.id)))
  return instances.filter((_, place) => statuses[place]?.state === 'running')
}

async function recordBack(tx: Queryable, work: Work, previousId: DeploymentId, ready: readonly Instance[]): Promise<void> {
  const { deployment, target } = work
  await setLiveBack(tx, { serviceEnvironmentId: target.id, from: deployment.id, to: previousId })
  await updateDeployment(tx, deployment.id, { status: 'failed' })
  await saveInstances(tx, [
    ...ready.map((instance) => ({ ...instance, deploymentId: previousId, state: 'serving' as const, standbyUntil: null })),
    ...work.instances.map((instance) => ({ ...instance, state: 'warm' as const })),
  ])
  const releaseId = (await findDeployment(tx, previousId))?.releaseId ?? null
  const number = releaseId === null ? null : ((await findRelease(tx, releaseId))?.number ?? null)
  const ofPrevious = (type: EventType, message: string, data = {}) => ({ ...event(work, type, message, data), deploymentId: previousId })
  await appendEvents(tx, [
    event(work, 'deployment.swapped_back', `${previousId} serves again: ${deployment.statusReason}`, { to: previousId }),
    ofPrevious('deployment.running', `serves again: ${deployment.id} failed after its swap`, { release: number }),
    ofPrevious('release.active', `v${number ?? '?'} is live`, { number }),
    ofPrevious('service.running', `${target.service} runs`),
  ])
}

/** Nothing to go back to: the new version stays, the health monitor restarts what crashed, and the deployment says so. */
async function stayLive(dependencies: EngineDependencies, tx: Queryable, work: Work, why: string): Promise<Lease> {
  const warning = `${work.deployment.statusReason}; ${why}`
  await clearVerdict(tx, work.deployment.id)
  const deployment = { ...work.deployment, facts: { ...work.deployment.facts, warnings: [...work.deployment.facts.warnings, warning] } }
  const entered = await enterStage(dependencies, tx, work.target, deployment, 'retire', work.lease)
  await appendEvents(tx, [event(work, 'deployment.warning', warning), ...entered.events])
  return entered.lease
}

/** The failed version's instances go, and whatever was still warm from before the previous version stops: nobody retires it any more. */
async function clearAway(dependencies: EngineDependencies, work: Work): Promise<void> {
  const { edge, runtime } = dependencies.drivers
  const { drainTimeoutMs = 0, stopTimeoutMs = 0 } = work.deployment.facts.config?.deploy ?? {}
  const { fence } = work.lease
  const ids = work.instances.map((instance) => instance.id)
  const older = work.others.filter((instance) => instance.state === 'warm')
  try {
    await edge.drain(work.target.id, ids, { timeoutMs: drainTimeoutMs, fence })
    await Promise.all([
      ...ids.map(async (id) => {
        await runtime.stop(id, { timeoutMs: stopTimeoutMs }, fence)
        await runtime.remove(id, fence)
      }),
      ...older.map(({ id }) => runtime.stop(id, { timeoutMs: stopTimeoutMs }, fence)),
    ])
  } catch (error) {
    const { code } = toShiplockError(error)
    if (code === 'FENCED') throw error
    dependencies.logger.warn('instances of a failed bake are left to the reaper', { deploymentId: work.deployment.id, error })
  }
}

async function settle(dependencies: EngineDependencies, work: Work): Promise<void> {
  const { deployment, target } = work
  await dependencies.database.transaction(async (tx) => {
    await assertFence(tx, work.lease)
    await saveInstances(
      tx,
      work.instances.map((instance) => ({ ...instance, state: 'removed' as const })),
    )
    await markStandby(tx, target.id, deployment.id, deployment.facts.config?.deploy.standbyMs ?? 0)
    await updateDeployment(tx, deployment.id, { settled: true })
    await endLease(tx, deployment.id)
    await appendEvents(tx, [event(work, 'deployment.failed', deployment.statusReason, { code: 'BAKE_FAILED' }, true)])
  })
}
