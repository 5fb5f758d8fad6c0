import { crashPoint } from '../core/crash-points.ts'
import { ERRORS } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { DeploymentError, Instance } from '../domain/deployment.ts'
import type { DeploymentId } from '../domain/ids.ts'
import { logTailOf } from '../stages/instance-labels.ts'
import { isOnRoute, targetsOf } from '../stages/swap.ts'
import { waitReady } from '../stages/wait-ready.ts'
import type { Queryable } from '../store/database.ts'
import { lockServiceEnvironment } from '../store/sql/catalog.ts'
import { findDeployment } from '../store/sql/deployments.ts'
import { appendEvents } from '../store/sql/events.ts'
import { saveInstances } from '../store/sql/instances.ts'
import { assertFence, type Lease, nextFence } from '../store/sql/leases.ts'
import { setLiveBack } from '../store/sql/live.ts'
import { clearVerdict, closeStageRun, updateDeployment } from '../store/sql/progress.ts'
import { enterStage, event } from './commit.ts'
import type { EngineDependencies } from './dependencies.ts'
import type { LogWriter } from './log-writer.ts'
import { instanceSpec } from './stage-context.ts'
import { loadWork, type Work } from './work.ts'

/**
 * A failed bake: the warm old instances take the traffic again, then the new ones are drained and removed. Three recorded steps, each of
 * which may be the first after a crash: decided (verdict), swapped back (status failed, the previous one running), settled.
 */
export async function swapBack(dependencies: EngineDependencies, work: Work, log: LogWriter, reason: string): Promise<Lease | null> {
  if (work.deployment.verdict === null) {
    log.write('engine', `trouble after the swap: ${reason}`, null)
    await decide(dependencies, work, reason)
    crashPoint('swap-back.decided')
  }
  if (work.deployment.status === 'running') {
    const onward = await turnRoute(dependencies, work, log)
    if (onward !== null) return onward
    crashPoint('swap-back.recorded')
  }
  await clearAway(dependencies, work)
  await settle(dependencies, work)
  crashPoint('settle.recorded')
  return null
}

async function decide(dependencies: EngineDependencies, work: Work, reason: string): Promise<void> {
  const tails = await Promise.all(work.instances.map((instance) => logTailOf(dependencies, instance.id, LIMITS.errorLogTailLines)))
  const error: DeploymentError = {
    code: 'BAKE_FAILED',
    message: work.redact(reason),
    hint: ERRORS.BAKE_FAILED.hint,
    stage: 'bake',
    logTail: tails.flat().map(work.redact).slice(-LIMITS.errorLogTailLines),
    attempts: [],
  }
  await dependencies.database.transaction(async (tx) => {
    await assertFence(tx, work.lease)
    await closeStageRun(tx, work.lease, 'bake', 'failed', reason)
    await updateDeployment(tx, work.deployment.id, { verdict: 'failed', error, statusReason: work.redact(reason) })
    await appendEvents(tx, [event(work, 'stage.failed', reason, { stage: 'bake', code: error.code })])
  })
}

/** The edge call and its record under the route's lock. A lease = there is nothing left to go back to, the deployment goes on instead. */
async function turnRoute(dependencies: EngineDependencies, work: Work, log: LogWriter): Promise<Lease | null> {
  return dependencies.database.transaction(async (tx) => {
    const target = await lockServiceEnvironment(tx, work.target.id)
    await assertFence(tx, work.lease)
    const now = await loadWork(dependencies, tx, work.lease)
    const previousId = target.previousDeploymentId as DeploymentId | null
    const back = now.others.filter(
      (instance) => instance.deploymentId === previousId && (instance.state === 'warm' || instance.state === 'standby'),
    )
    if (target.liveDeploymentId !== work.deployment.id || previousId === null || back.length === 0) {
      return stayLive(dependencies, tx, now)
    }
    const ready = await wake(dependencies, tx, now, back)
    const targets = targetsOf(ready)
    const route = (await dependencies.drivers.edge.read()).find((known) => known.id === target.id)
    if (!isOnRoute(route, targets)) {
      const fence = await nextFence(tx)
      await dependencies.drivers.edge.swap({ routeId: target.id, hosts: [target.host], pathPrefix: '', targets, fence, ifGeneration: null })
    }
    crashPoint('swap-back.edge-acknowledged')
    log.write('engine', `the previous version serves again (${previousId})`, null)
    await recordBack(tx, now, previousId, ready)
    return null
  })
}

/** Warm instances normally just run; one that died meanwhile is started and must be ready before it takes traffic (I2). */
async function wake(dependencies: EngineDependencies, tx: Queryable, work: Work, back: readonly Instance[]): Promise<Instance[]> {
  const { runtime } = dependencies.drivers
  const woken = await Promise.all(
    back.map(async (instance): Promise<Instance | null> => {
      const status = await runtime.inspect(instance.id)
      if (status.state === 'running') return { ...instance, state: 'serving', address: status.address }
      const spec = await instanceSpec(dependencies, tx, work.target, instance)
      const signal = AbortSignal.timeout(LIMITS.wakeMs)
      await runtime.start(spec, await nextFence(dependencies.database), signal)
      const check = work.deployment.facts.config?.deploy.readinessCheck
      if (check === undefined) return null
      const readiness = await waitReady(instance, check, { runtime, clock: dependencies.clock, signal })
      return readiness.ready ? { ...instance, state: 'serving', address: readiness.address } : null
    }),
  )
  const ready = woken.filter((instance) => instance !== null)
  if (ready.length === 0) throw new Error('no instance of the previous version could be woken')
  return ready
}

async function recordBack(tx: Queryable, work: Work, previousId: DeploymentId, ready: readonly Instance[]): Promise<void> {
  const { deployment, target } = work
  await setLiveBack(tx, { serviceEnvironmentId: target.id, from: deployment.id, to: previousId })
  await updateDeployment(tx, deployment.id, { status: 'failed' })
  await saveInstances(tx, [
    ...ready.map((instance) => ({ ...instance, standbyUntil: null })),
    ...work.instances.map((instance) => ({ ...instance, state: 'warm' as const })),
  ])
  const previous = await findDeployment(tx, previousId)
  await appendEvents(tx, [
    event(work, 'deployment.swapped_back', `${previousId} serves again: ${deployment.statusReason}`, { to: previousId }),
    { ...event(work, 'deployment.running', `serves again: ${deployment.id} failed after its swap`, {}), deploymentId: previousId },
    event(work, 'service.running', `${target.service} runs`, { release: previous?.releaseId ?? null }),
  ])
}

/** Nothing to go back to: the new version stays, the health monitor restarts what crashed, and the deployment says so. */
async function stayLive(dependencies: EngineDependencies, tx: Queryable, work: Work): Promise<Lease> {
  const warning = `${work.deployment.statusReason}; there is no earlier version left to swap back to`
  await clearVerdict(tx, work.deployment.id)
  const entered = await enterStage(dependencies, tx, work.target, work.deployment, 'retire', work.lease)
  await appendEvents(tx, [event(work, 'deployment.warning', warning), ...entered.events])
  return entered.lease
}

async function clearAway(dependencies: EngineDependencies, work: Work): Promise<void> {
  const { edge, runtime } = dependencies.drivers
  const { drainTimeoutMs = 0, stopTimeoutMs = 0 } = work.deployment.facts.config?.deploy ?? {}
  const fence = await nextFence(dependencies.database)
  const ids = work.instances.map((instance) => instance.id)
  try {
    await edge.drain(work.target.id, ids, { timeoutMs: drainTimeoutMs, fence })
    await Promise.all(
      ids.map(async (id) => {
        await runtime.stop(id, { timeoutMs: stopTimeoutMs }, fence)
        await runtime.remove(id, fence)
      }),
    )
  } catch (error) {
    dependencies.logger.warn('instances of a failed bake are left to the reaper', { deploymentId: work.deployment.id, error })
  }
}

async function settle(dependencies: EngineDependencies, work: Work): Promise<void> {
  await dependencies.database.transaction(async (tx) => {
    await assertFence(tx, work.lease)
    await saveInstances(
      tx,
      work.instances.map((instance) => ({ ...instance, state: 'removed' as const })),
    )
    await updateDeployment(tx, work.deployment.id, { settled: true })
    await tx.query('delete from leases where deployment_id = $1', [work.deployment.id])
    await appendEvents(tx, [event(work, 'deployment.failed', work.deployment.statusReason, { code: 'BAKE_FAILED' }, true)])
  })
}
