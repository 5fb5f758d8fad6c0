import { LIMITS } from '../core/limits.ts'
import type { Service } from '../core/service.ts'
import type { Instance } from '../domain/deployment.ts'
import type { DeploymentId, InstanceId } from '../domain/ids.ts'
import { restartPauseMs } from '../domain/restart-backoff.ts'
import { probeOnce } from '../stages/probe.ts'
import { targetsOf } from '../stages/swap.ts'
import { describeExit, waitReady } from '../stages/wait-ready.ts'
import { isTransient, type Queryable } from '../store/database.ts'
import { getServiceEnvironment, lockServiceEnvironment, type ServiceEnvironment } from '../store/sql/catalog.ts'
import { appendEvents } from '../store/sql/events.ts'
import { findInstance, listInstances, saveInstances } from '../store/sql/instances.ts'
import { nextFence } from '../store/sql/leases.ts'
import { isShutDown, listWatched, setStatusReason, type WatchedInstance } from '../store/sql/upkeep.ts'
import type { EngineDependencies } from './dependencies.ts'
import { Periodic } from './periodic.ts'
import { instanceSpec } from './stage-context.ts'

/**
 * Watches every serving instance of this server after its bake: one that exits, or fails its health check for `failureTimeout`, leaves
 * the edge, is restarted with growing pauses, and returns when it is ready (DESIGN.md §4). Route changes are made under the route's lock.
 */
export class HealthMonitor implements Service {
  readonly #dependencies: EngineDependencies
  readonly #watches = new Map<InstanceId, { deploymentId: DeploymentId; stop: AbortController; ended: Promise<void> }>()
  readonly #rounds: Periodic

  constructor(dependencies: EngineDependencies) {
    this.#dependencies = dependencies
    this.#rounds = new Periodic('health monitor', LIMITS.healthMonitorPeriodMs, dependencies, () => this.#look())
  }

  start(): Promise<void> {
    return this.#rounds.start()
  }

  async stop(): Promise<void> {
    await this.#rounds.stop()
    const watches = [...this.#watches.values()]
    for (const watch of watches) watch.stop.abort()
    await Promise.allSettled(watches.map((watch) => watch.ended))
  }

  async #look(): Promise<void> {
    const { database, owner } = this.#dependencies
    const wanted = new Map((await listWatched(database, owner.serverId)).map((seen) => [seen.id, seen]))
    for (const [id, watched] of this.#watches) if (wanted.get(id)?.deploymentId !== watched.deploymentId) watched.stop.abort()
    for (const [id, seen] of wanted) if (!this.#watches.has(id)) this.#begin(seen)
  }

  #begin(seen: WatchedInstance): void {
    const { id, deploymentId } = seen
    const stop = new AbortController()
    const ended = watch(this.#dependencies, seen, stop.signal)
      .catch((error: unknown) => {
        if (!stop.signal.aborted && !isTransient(error))
          this.#dependencies.logger.warn('watching an instance failed', { instanceId: id, error })
      })
      .finally(() => this.#watches.delete(id))
    this.#watches.set(id, { deploymentId, stop, ended })
  }
}

/**
 * Until the instance no longer serves for the deployment that it was seen with: wait for trouble, then bring it back. Once it was replaced,
 * a rollback may have it serve again at any moment: whoever still thinks of it as crashed would restart it in the middle of its work.
 */
async function watch(dependencies: EngineDependencies, seen: WatchedInstance, signal: AbortSignal): Promise<void> {
  const { clock } = dependencies
  const { id } = seen
  await returnIfLost(dependencies, seen, signal)
  for (let crashes = 0; !signal.aborted; ) {
    const begun = clock.monotonic()
    const trouble = await troubleOf(dependencies, seen, signal)
    // Whoever ran well for a while starts anew with short pauses.
    crashes = clock.monotonic() - begun > LIMITS.restartBackoffMaxMs ? 1 : crashes + 1
    if (!(await leaveEdge(dependencies, seen, trouble, crashes))) return
    await clock.sleep(restartPauseMs(crashes), signal)
    const isOurs = await bringBack(dependencies, seen, trouble, signal).catch((error: unknown) => {
      // A start that is refused counts as a crash, so that the next one waits longer.
      if (signal.aborted || isTransient(error)) throw error
      dependencies.logger.warn('an instance could not be restarted', { instanceId: id, error })
      return true
    })
    if (!isOurs) return
  }
}

interface Trouble {
  readonly type: 'instance.exited' | 'instance.unhealthy'
  readonly message: string
}

async function troubleOf(dependencies: EngineDependencies, seen: WatchedInstance, signal: AbortSignal): Promise<Trouble> {
  const { id, config } = seen
  const over = new AbortController()
  const both = AbortSignal.any([signal, over.signal])
  const { runtime } = dependencies.drivers
  const exit = runtime.waitForExit(id, both).then((status): Trouble => ({ type: 'instance.exited', message: describeExit(status) }))
  const watchers = [exit, strangerAtPort(dependencies, id, both)]
  if (config.run.healthCheck !== null) watchers.push(failingHealth(dependencies, seen, both))
  try {
    return await Promise.race(watchers)
  } finally {
    over.abort()
    await Promise.allSettled(watchers)
  }
}

/** Somebody else listens where requests to the instance go: trouble at once, whatever answers its health check (I15). */
async function strangerAtPort({ clock, drivers }: EngineDependencies, id: InstanceId, signal: AbortSignal): Promise<Trouble> {
  for (;;) {
    await clock.sleep(LIMITS.endpointProofMs, signal)
    const proof = await drivers.runtime.proveEndpoint(id)
    if (proof.kind === 'foreign') return { type: 'instance.unhealthy', message: proof.reason }
  }
}

/** `disconnectTimeout` of failures: off the route. `failureTimeout`: trouble, restart. `recoveryTimeout` of passes: back on the route. */
async function failingHealth(dependencies: EngineDependencies, seen: WatchedInstance, signal: AbortSignal): Promise<Trouble> {
  const { id, config } = seen
  const check = config.run.healthCheck
  if (check === null) throw new Error('there is no health check')
  const { clock, drivers } = dependencies
  let failingSince: number | null = null
  let passingSince: number | null = null
  let isOff = false
  for (;;) {
    await clock.sleep(check.periodMs, signal)
    const status = await drivers.runtime.inspect(id)
    if (status.state !== 'running') continue
    const { address } = status
    const attempt = await probeOnce({
      probe: check.probe,
      instanceId: id,
      address,
      timeoutMs: check.attemptTimeoutMs,
      runtime: drivers.runtime,
      clock,
      signal,
    })
    const now = clock.monotonic()
    if (attempt.outcome === 'passed') {
      failingSince = null
      passingSince ??= now
      if (isOff && now - passingSince >= check.recoveryTimeoutMs) {
        await returnToEdge(dependencies, seen, address, 'instance.recovered', 'passes its health check again')
        isOff = false
      }
      continue
    }
    passingSince = null
    failingSince ??= now
    const failingMs = now - failingSince
    const message = `health check failing for ${Math.round(failingMs / 1000)} s: ${attempt.address} gave ${attempt.result}`
    if (failingMs >= check.failureTimeoutMs) return { type: 'instance.unhealthy', message }
    if (!isOff && failingMs >= check.disconnectTimeoutMs) {
      isOff = true
      await leaveEdge(dependencies, seen, { type: 'instance.unhealthy', message }, 0)
    }
  }
}

/**
 * Off the route, if another target is left on it. The only one stays there; when it is restarted (`crashes` > 0), requests wait at the
 * edge meanwhile, within a bound that is not moved by further crashes: nobody reaches it before it is ready again (I2).
 */
async function leaveEdge(dependencies: EngineDependencies, seen: WatchedInstance, trouble: Trouble, crashes: number): Promise<boolean> {
  const { id } = seen
  const left = await withServing(dependencies, seen, async (tx, target, instance) => {
    if (await isBack(dependencies, id, trouble)) return null
    const { edge } = dependencies.drivers
    const route = (await edge.read()).find((known) => known.id === target.id)
    const rest = route?.targets.filter((known) => known.instanceId !== id) ?? []
    if (route !== undefined && rest.length > 0 && rest.length < route.targets.length) {
      const fence = await nextFence(tx)
      await edge.swap({
        routeId: target.id,
        hosts: route.hosts,
        pathPrefix: route.pathPrefix,
        targets: rest,
        fence,
        ifGeneration: route.generation,
      })
    } else if (route !== undefined && rest.length === 0 && crashes > 0 && !route.held) {
      await edge.hold(target.id, { maxMs: LIMITS.holdMs, fence: await nextFence(tx) })
    }
    const times = crashes > 1 ? ` (${crashes} times in a row)` : ''
    await setStatusReason(tx, instance.deploymentId, `instance ${instance.index}: ${trouble.message}${times}; it is being restarted`)
    await appendEvents(tx, [monitorEvent(target, instance, trouble.type, `instance ${instance.index}: ${trouble.message}${times}`)])
    return true
  })
  return left === true
}

/** What had exited runs: somebody else has started it again meanwhile. */
async function isBack(dependencies: EngineDependencies, id: InstanceId, trouble: Trouble): Promise<boolean> {
  return trouble.type === 'instance.exited' && (await dependencies.drivers.runtime.inspect(id)).state === 'running'
}

/**
 * Stop what is left, start, wait for readiness, return to the route. Only the right to do so is taken under the route's lock; stopping
 * and starting may take long and carry its fence: whoever changes the route meanwhile draws a newer one, and the old call is refused.
 */
async function bringBack(dependencies: EngineDependencies, seen: WatchedInstance, trouble: Trouble, signal: AbortSignal): Promise<boolean> {
  const { runtime } = dependencies.drivers
  const { id, config } = seen
  const begun = await withServing(dependencies, seen, async (tx, target, instance) => {
    if (await isBack(dependencies, id, trouble)) return null
    const restarting = { ...instance, restarts: instance.restarts + 1 }
    await saveInstances(tx, [restarting])
    return { instance: restarting, fence: await nextFence(tx), spec: await instanceSpec(dependencies, tx, target, instance) }
  })
  if (begun === null) return false
  await runtime.stop(id, { timeoutMs: config.deploy.stopTimeoutMs }, begun.fence)
  await runtime.start(begun.spec, begun.fence, signal)
  const readiness = await waitReady({ id }, config.deploy.readinessCheck, { runtime, clock: dependencies.clock, signal })
  if (!readiness.ready) {
    dependencies.logger.info('a restarted instance did not become ready', { instanceId: id, reason: readiness.reason })
    return true
  }
  const message = `restarted (${begun.instance.restarts} restarts so far)`
  return returnToEdge(dependencies, seen, readiness.address, 'instance.restarted', message)
}

/** Runs, but the route does not send to where it runs: whoever was bringing it back was cut (I5). */
async function returnIfLost(dependencies: EngineDependencies, seen: WatchedInstance, signal: AbortSignal): Promise<void> {
  const { id, config } = seen
  const { runtime, edge } = dependencies.drivers
  const instance = await findInstance(dependencies.database, id)
  const status = await runtime.inspect(id)
  if (instance === null || status.state !== 'running') return
  const route = (await edge.read()).find((known) => known.id === instance.serviceEnvironmentId)
  const { host, port } = status.address
  // A lost route is the reconciler's.
  if (route === undefined) return
  if (!route.held && route.targets.some((known) => known.instanceId === id && known.host === host && known.port === port)) return
  const readiness = await waitReady({ id }, config.deploy.readinessCheck, { runtime, clock: dependencies.clock, signal })
  if (!readiness.ready) return
  await returnToEdge(dependencies, seen, readiness.address, 'instance.recovered', 'is back on the route')
}

async function returnToEdge(
  dependencies: EngineDependencies,
  seen: WatchedInstance,
  address: NonNullable<Instance['address']>,
  type: 'instance.restarted' | 'instance.recovered',
  message: string,
): Promise<boolean> {
  const returned = await withServing(dependencies, seen, async (tx, target, row) => {
    const instance = { ...row, address }
    const { edge } = dependencies.drivers
    const route = (await edge.read()).find((known) => known.id === target.id)
    // What is left on a held route is down: it comes back by itself once it is ready.
    const present = route === undefined || route.held ? [] : route.targets
    const others = present.filter((known) => known.instanceId !== instance.id)
    const serving = new Set((await listInstances(tx, target.id)).filter((known) => known.state === 'serving').map((known) => known.id))
    const targets = [...others.filter((known) => serving.has(known.instanceId)), ...targetsOf([instance])]
    const fence = await nextFence(tx)
    await edge.swap({ routeId: target.id, hosts: [target.host], pathPrefix: '', targets, fence, ifGeneration: route?.generation ?? null })
    await saveInstances(tx, [instance])
    await setStatusReason(tx, instance.deploymentId, `${target.service} is live`)
    await appendEvents(tx, [monitorEvent(target, instance, type, `instance ${instance.index} ${message}`)])
    return true
  })
  return returned !== null
}

/** Under the route's lock, and only while the instance (still) serves for the deployment that it was seen with and is not stopped on purpose; else null. */
async function withServing<T>(
  dependencies: EngineDependencies,
  { id, deploymentId }: WatchedInstance,
  work: (tx: Queryable, target: ServiceEnvironment, instance: Instance) => Promise<T>,
): Promise<T | null> {
  const seen = await findInstance(dependencies.database, id)
  if (seen === null || (await getServiceEnvironment(dependencies.database, seen.serviceEnvironmentId)) === null) return null
  return dependencies.database.transaction(async (tx) => {
    const target = await lockServiceEnvironment(tx, seen.serviceEnvironmentId)
    const instance = await findInstance(tx, id)
    const isOurs = instance?.state === 'serving' && instance.deploymentId === deploymentId
    return isOurs && !(await isShutDown(tx, target.id)) ? work(tx, target, instance) : null
  })
}

function monitorEvent(
  target: ServiceEnvironment,
  instance: Instance,
  type: Trouble['type'] | 'instance.restarted' | 'instance.recovered',
  message: string,
) {
  return {
    type,
    message,
    projectId: target.projectId,
    environmentId: target.environmentId,
    serviceId: target.serviceId,
    serviceEnvironmentId: target.id,
    deploymentId: instance.deploymentId,
    instanceId: instance.id,
    data: { restarts: instance.restarts },
  }
}
