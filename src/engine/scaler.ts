import { crashPoint } from '../core/crash-points.ts'
import { isShiplockError, toShiplockError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Service } from '../core/service.ts'
import type { Instance } from '../domain/deployment.ts'
import type { NewEvent } from '../domain/event.ts'
import { type DeploymentId, instanceIdFor, type ServiceEnvironmentId } from '../domain/ids.ts'
import { restartPauseMs } from '../domain/restart-backoff.ts'
import type { ServiceConfig } from '../domain/service-config.ts'
import type { Target } from '../edge/edge.ts'
import { startInstance } from '../stages/start-instance.ts'
import { targetsOf } from '../stages/swap.ts'
import { type Readiness, waitReady } from '../stages/wait-ready.ts'
import { isTransient, type Queryable } from '../store/database.ts'
import { lockServiceEnvironment, type ServiceEnvironment } from '../store/sql/catalog.ts'
import { appendEvents } from '../store/sql/events.ts'
import { countInstancesAt, listInstances, saveInstances } from '../store/sql/instances.ts'
import { nextFence } from '../store/sql/leases.ts'
import { isAtRest, type Leaving, listLeaving, listMisscaled, type Misscaled } from '../store/sql/upkeep.ts'
import type { EngineDependencies } from './dependencies.ts'
import { Periodic } from './periodic.ts'
import { instanceSpec } from './stage-context.ts'

/**
 * Brings what serves to the wanted number of instances (`shiplock scale`, else the config), one by one. A new one passes readiness before
 * it takes traffic (I2); one too many leaves the route and is drained before it is told to stop. A deployment that begins meanwhile wins:
 * it plans as many instances as are wanted, and what is not on the route by then is discarded.
 */
export class Scaler implements Service {
  readonly #dependencies: EngineDependencies
  readonly #rounds: Periodic
  readonly #works = new Map<ServiceEnvironmentId, Promise<void>>()
  #stopping = new AbortController()

  constructor(dependencies: EngineDependencies) {
    this.#dependencies = dependencies
    this.#rounds = new Periodic('scaler', LIMITS.scalerPeriodMs, dependencies, () => this.#look())
  }

  start(): Promise<void> {
    this.#stopping = new AbortController()
    return this.#rounds.start()
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#rounds.stop()
    await Promise.allSettled(this.#works.values())
  }

  /** A slow start of one service keeps no other one waiting. */
  async #look(): Promise<void> {
    const { database, owner } = this.#dependencies
    const { signal } = this.#stopping
    for (const found of await listMisscaled(database, owner.serverId)) this.#work(found.id, () => bring(this.#dependencies, found, signal))
    for (const left of await listLeaving(database, owner.serverId)) this.#work(left.id, () => finishLeaving(this.#dependencies, left))
  }

  /** One thing at a time for each service: what this process itself takes off a route is not taken for something that was left. */
  #work(id: ServiceEnvironmentId, act: () => Promise<void>): void {
    const { signal } = this.#stopping
    if (this.#works.has(id) || signal.aborted) return
    const work = act()
      .catch((error: unknown) => {
        if (!signal.aborted && !isTransient(error)) this.#dependencies.logger.warn('scaling failed', { serviceEnvironmentId: id, error })
      })
      .finally(() => this.#works.delete(id))
    this.#works.set(id, work)
  }
}

/** Until the number is right, or no longer ours to make right. */
async function bring(dependencies: EngineDependencies, first: Misscaled, signal: AbortSignal): Promise<void> {
  const { database, owner, clock } = dependencies
  let failures = 0
  let found: Misscaled | undefined = first
  while (found !== undefined && !signal.aborted) {
    const isDone = found.serving < found.wanted ? await addOne(dependencies, found, signal) : await removeOne(dependencies, found)
    failures = isDone ? 0 : failures + 1
    if (!isDone) await clock.sleep(Math.max(LIMITS.scalerPeriodMs, restartPauseMs(failures)), signal)
    found = (await listMisscaled(database, owner.serverId)).find((other) => other.id === first.id)
  }
}

/** What holds while the route is locked: still live, no deployment under way. Null when something else came first. */
async function underLock<T>(
  dependencies: EngineDependencies,
  found: Misscaled,
  work: (tx: Queryable, target: ServiceEnvironment, instances: readonly Instance[]) => Promise<T>,
): Promise<T | null> {
  return dependencies.database.transaction(async (tx) => {
    const target = await lockServiceEnvironment(tx, found.id)
    if (target.liveDeploymentId !== found.deploymentId || !(await isAtRest(tx, found.id))) return null
    return work(tx, target, await listInstances(tx, found.id))
  })
}

/** False when nothing was added. */
async function addOne(dependencies: EngineDependencies, found: Misscaled, signal: AbortSignal): Promise<boolean> {
  const begun = await underLock(dependencies, found, async (tx, target, instances) => {
    const instance = await plannedInstance(dependencies, tx, found, target, instances)
    return { instance, target, fence: await nextFence(tx) }
  })
  if (begun === null) return false
  crashPoint('scale.planned')
  const readiness = await startAndWait(dependencies, found, begun, signal)
  if (readiness.ready) {
    crashPoint('scale.ready-not-joined')
    const added: Instance = { ...begun.instance, state: 'serving', address: readiness.address }
    const joined = await underLock(dependencies, found, (tx, target, instances) => join(dependencies, tx, target, added, instances))
    if (joined !== null) return true
  }
  await discard(dependencies, begun.instance, found.config)
  if (!readiness.ready) await tellNotReady(dependencies, begun, readiness.reason)
  return false
}

async function startAndWait(
  dependencies: EngineDependencies,
  found: Misscaled,
  { instance, target, fence }: { readonly instance: Instance; readonly target: ServiceEnvironment; readonly fence: number },
  signal: AbortSignal,
): Promise<Readiness> {
  const { database, clock, drivers } = dependencies
  const { runtime } = drivers
  try {
    const spec = await instanceSpec(dependencies, database, target, instance)
    await startInstance(runtime, spec, { check: found.config.deploy.readinessCheck, fence, signal })
    return await waitReady(instance, found.config.deploy.readinessCheck, { runtime, clock, signal })
  } catch (error) {
    // What the next round may find better is not the instance's fault.
    if (signal.aborted || isTransient(error) || isShiplockError(error, 'FENCED')) throw error
    return { ready: false, attempts: [], reason: toShiplockError(error).message, exited: true }
  }
}

async function tellNotReady(
  { database, logger }: EngineDependencies,
  { instance, target }: { readonly instance: Instance; readonly target: ServiceEnvironment },
  reason: string,
): Promise<void> {
  logger.warn('a further instance did not become ready', { instanceId: instance.id, reason })
  const message = `a further instance (${instance.index}) did not become ready: ${reason}`
  await database.transaction((tx) => announce(tx, target, instance, { type: 'instance.unhealthy', message, data: { scaling: true } }))
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
  return LIMITS.verifyAttempts + (await countInstancesAt(tx, deploymentId, index))
}

/** What is on the route stays; an instance that the health monitor has taken off it, to restart it, is not put back by us (I2). */
async function onRoute(
  { drivers }: EngineDependencies,
  target: ServiceEnvironment,
  serving: readonly Instance[],
): Promise<readonly Target[]> {
  const ids = new Set(serving.map((instance) => instance.id))
  const route = (await drivers.edge.read()).find((known) => known.id === target.id)
  // What stands on a held route is down.
  return route === undefined || route.held ? [] : route.targets.filter((known) => ids.has(known.instanceId))
}

async function join(
  dependencies: EngineDependencies,
  tx: Queryable,
  target: ServiceEnvironment,
  added: Instance,
  instances: readonly Instance[],
): Promise<true> {
  const serving = instances.filter((instance) => instance.state === 'serving' && instance.id !== added.id)
  const fence = await nextFence(tx)
  const targets = [...(await onRoute(dependencies, target, serving)), ...targetsOf([added])]
  await dependencies.drivers.edge.swap({ routeId: target.id, hosts: [target.host], pathPrefix: '', targets, fence, ifGeneration: null })
  crashPoint('scale.joined-not-recorded')
  await saveInstances(tx, [added])
  const message = `instance ${added.index} was added: ${serving.length + 1} serve`
  await announce(tx, target, added, { type: 'service.scaled', message, data: { serving: serving.length + 1 } })
  return true
}

/** False when there was nothing to remove. */
async function removeOne(dependencies: EngineDependencies, found: Misscaled): Promise<boolean> {
  const { edge } = dependencies.drivers
  const leaving = await underLock(dependencies, found, async (tx, target, instances) => {
    const serving = instances.filter((instance) => instance.state === 'serving')
    const present = await onRoute(dependencies, target, serving)
    // One that takes no traffic anyway goes first.
    const last = serving.findLast((instance) => present.every((known) => known.instanceId !== instance.id)) ?? serving.at(-1)
    if (last === undefined || serving.length < 2) return null
    const targets = present.filter((known) => known.instanceId !== last.id)
    if (targets.length === 0) return null
    const fence = await nextFence(tx)
    await edge.swap({ routeId: target.id, hosts: [target.host], pathPrefix: '', targets, fence, ifGeneration: null })
    crashPoint('scale.left-not-recorded')
    // Warm: off the route and still running, so that a crash here leaves what retire and the reaper know how to stop.
    await saveInstances(tx, [{ ...last, state: 'warm' }])
    const message = `instance ${last.index} leaves: ${serving.length - 1} serve`
    await announce(tx, target, last, { type: 'service.scaled', message, data: { serving: serving.length - 1 } })
    return { instance: last, fence }
  })
  if (leaving === null) return false
  await drainAndDiscard(dependencies, found, leaving.instance, leaving.fence)
  return true
}

/** Takes up a removal that was cut: the listing was read before, so it is looked at once more under the lock. */
async function finishLeaving(dependencies: EngineDependencies, { id, instanceId, config }: Leaving): Promise<void> {
  const found = await dependencies.database.transaction(async (tx) => {
    const target = await lockServiceEnvironment(tx, id)
    const instance = (await listInstances(tx, id)).find((known) => known.id === instanceId)
    const isLeaving = instance?.state === 'warm' && instance.deploymentId === target.liveDeploymentId && (await isAtRest(tx, id))
    return isLeaving ? { instance, fence: await nextFence(tx) } : null
  })
  if (found !== null) await drainAndDiscard(dependencies, { id, config }, found.instance, found.fence)
}

async function drainAndDiscard(
  dependencies: EngineDependencies,
  { id, config }: Pick<Misscaled, 'id' | 'config'>,
  instance: Instance,
  fence: number,
): Promise<void> {
  await dependencies.drivers.edge.drain(id, [instance.id], { timeoutMs: config.deploy.drainTimeoutMs, fence })
  await discard(dependencies, instance, config)
}

async function discard(dependencies: EngineDependencies, instance: Instance, config: ServiceConfig): Promise<void> {
  const { runtime } = dependencies.drivers
  const fence = await nextFence(dependencies.database)
  await runtime.stop(instance.id, { timeoutMs: config.deploy.stopTimeoutMs }, fence)
  await runtime.remove(instance.id, fence)
  await dependencies.database.transaction((tx) => saveInstances(tx, [{ ...instance, state: 'removed' }]))
}

async function announce(
  tx: Queryable,
  target: ServiceEnvironment,
  instance: Instance,
  about: Pick<NewEvent, 'type' | 'message' | 'data'>,
): Promise<void> {
  await appendEvents(tx, [
    {
      ...about,
      projectId: target.projectId,
      environmentId: target.environmentId,
      serviceId: target.serviceId,
      serviceEnvironmentId: target.id,
      deploymentId: instance.deploymentId,
      instanceId: instance.id,
    },
  ])
}
