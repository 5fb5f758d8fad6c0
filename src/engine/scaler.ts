import { LIMITS } from '../core/limits.ts'
import type { Instance } from '../domain/deployment.ts'
import { type DeploymentId, instanceIdFor } from '../domain/ids.ts'
import type { ServiceConfig } from '../domain/service-config.ts'
import { targetsOf } from '../stages/swap.ts'
import { waitReady } from '../stages/wait-ready.ts'
import type { Queryable } from '../store/database.ts'
import { lockServiceEnvironment, type ServiceEnvironment } from '../store/sql/catalog.ts'
import { appendEvents } from '../store/sql/events.ts'
import { listInstances, saveInstances } from '../store/sql/instances.ts'
import { nextFence } from '../store/sql/leases.ts'
import { listMisscaled, type Misscaled } from '../store/sql/upkeep.ts'
import type { EngineDependencies } from './dependencies.ts'
import { Periodic } from './periodic.ts'
import { instanceSpec } from './stage-context.ts'

/**
 * Brings what serves to the wanted number of instances (`shiplock scale`, else the config). A new one passes readiness before it takes
 * traffic (I2); one too many leaves the route and is drained before it is told to stop. It never runs beside a deployment's own work.
 */
export function createScaler(dependencies: EngineDependencies): Periodic {
  return new Periodic('scaler', LIMITS.scalerPeriodMs, dependencies, (signal) => scale(dependencies, signal))
}

export async function scale(dependencies: EngineDependencies, signal: AbortSignal): Promise<void> {
  const misscaled = await listMisscaled(dependencies.database)
  await Promise.all(
    misscaled.map(async (found) => {
      if (found.serving < found.wanted) await addOne(dependencies, found, signal)
      else await removeOne(dependencies, found)
    }),
  )
}

/** What holds while the route is locked: still live, still misscaled. Null when something else came first. */
async function underLock<T>(
  dependencies: EngineDependencies,
  found: Misscaled,
  work: (tx: Queryable, target: ServiceEnvironment, instances: readonly Instance[]) => Promise<T>,
): Promise<T | null> {
  return dependencies.database.transaction(async (tx) => {
    const target = await lockServiceEnvironment(tx, found.id)
    if (target.liveDeploymentId !== found.deploymentId) return null
    return work(tx, target, await listInstances(tx, found.id))
  })
}

async function addOne(dependencies: EngineDependencies, found: Misscaled, signal: AbortSignal): Promise<void> {
  const { runtime } = dependencies.drivers
  const begun = await underLock(dependencies, found, async (tx, target, instances) => {
    const instance = await plannedInstance(dependencies, tx, found, target, instances)
    return { instance, target, fence: await nextFence(tx) }
  })
  if (begun === null) return
  const { instance, target, fence } = begun
  await runtime.start(await instanceSpec(dependencies, dependencies.database, target, instance), fence, signal)
  const readiness = await waitReady(instance, found.config.deploy.readinessCheck, { runtime, clock: dependencies.clock, signal })
  const added = readiness.ready ? { ...instance, state: 'serving' as const, address: readiness.address } : null
  const joined =
    added === null ? null : await underLock(dependencies, found, (tx, now, instances) => join(dependencies, tx, now, added, instances))
  if (joined !== null) return
  if (!readiness.ready)
    dependencies.logger.warn('a further instance did not become ready', { instanceId: instance.id, reason: readiness.reason })
  await discard(dependencies, instance, found.config)
}

/** The row comes before the instance; one that a crash left in `starting` is taken up again. */
async function plannedInstance(
  dependencies: EngineDependencies,
  tx: Queryable,
  found: Misscaled,
  target: ServiceEnvironment,
  instances: readonly Instance[],
): Promise<Instance> {
  const own = instances.filter((instance) => instance.deploymentId === found.deploymentId)
  const left = own.find((instance) => instance.state === 'starting' || instance.state === 'ready')
  if (left !== undefined) return left
  const index = firstFree(own.map((instance) => instance.index))
  const instance: Instance = {
    id: instanceIdFor(found.deploymentId, index, await nextAttempt(tx, found.deploymentId, index)),
    deploymentId: found.deploymentId,
    releaseId: found.releaseId,
    serviceEnvironmentId: target.id,
    serverId: dependencies.owner.serverId,
    index,
    state: 'starting',
    address: null,
    restarts: 0,
    standbyUntil: null,
  }
  await saveInstances(tx, [instance])
  return instance
}

function firstFree(taken: readonly number[]): number {
  for (let index = 0; ; index++) if (!taken.includes(index)) return index
}

/** An id is used once: removed instances of that index keep theirs. */
async function nextAttempt(tx: Queryable, deploymentId: DeploymentId, index: number): Promise<number> {
  const [row] = await tx.query<{ count: number }>('select count(*) as count from instances where deployment_id = $1 and index = $2', [
    deploymentId,
    index,
  ])
  return LIMITS.verifyAttempts + (row?.count ?? 0)
}

async function join(
  dependencies: EngineDependencies,
  tx: Queryable,
  target: ServiceEnvironment,
  added: Instance,
  instances: readonly Instance[],
): Promise<true> {
  const serving = instances.filter((instance) => instance.state === 'serving' && instance.address !== null && instance.id !== added.id)
  const fence = await nextFence(tx)
  const targets = targetsOf([...serving, added])
  await dependencies.drivers.edge.swap({ routeId: target.id, hosts: [target.host], pathPrefix: '', targets, fence, ifGeneration: null })
  await saveInstances(tx, [added])
  await announce(tx, target, added, `instance ${added.index} was added: ${targets.length} serve`, targets.length)
  return true
}

async function removeOne(dependencies: EngineDependencies, found: Misscaled): Promise<void> {
  const { edge } = dependencies.drivers
  const leaving = await underLock(dependencies, found, async (tx, target, instances) => {
    const serving = instances.filter((instance) => instance.state === 'serving' && instance.address !== null)
    const last = serving.at(-1)
    if (last === undefined || serving.length < 2) return null
    const fence = await nextFence(tx)
    const rest = serving.slice(0, -1)
    await edge.swap({ routeId: target.id, hosts: [target.host], pathPrefix: '', targets: targetsOf(rest), fence, ifGeneration: null })
    // Warm: off the route and still running, so that a crash here leaves what retire and the reaper know how to stop.
    await saveInstances(tx, [{ ...last, state: 'warm' }])
    await announce(tx, target, last, `instance ${last.index} leaves: ${rest.length} serve`, rest.length)
    return { instance: last, fence }
  })
  if (leaving === null) return
  const drainTimeoutMs = found.config.deploy.drainTimeoutMs
  await edge.drain(found.id, [leaving.instance.id], { timeoutMs: drainTimeoutMs, fence: leaving.fence })
  await discard(dependencies, leaving.instance, found.config)
}

async function discard(dependencies: EngineDependencies, instance: Instance, config: ServiceConfig): Promise<void> {
  const { runtime } = dependencies.drivers
  const fence = await nextFence(dependencies.database)
  await runtime.stop(instance.id, { timeoutMs: config.deploy.stopTimeoutMs }, fence)
  await runtime.remove(instance.id, fence)
  await dependencies.database.transaction((tx) => saveInstances(tx, [{ ...instance, state: 'removed' }]))
}

async function announce(tx: Queryable, target: ServiceEnvironment, instance: Instance, message: string, serving: number): Promise<void> {
  await appendEvents(tx, [
    {
      type: 'service.scaled',
      message,
      projectId: target.projectId,
      environmentId: target.environmentId,
      serviceId: target.serviceId,
      serviceEnvironmentId: target.id,
      deploymentId: instance.deploymentId,
      instanceId: instance.id,
      data: { serving },
    },
  ])
}
