import { LIMITS } from '../core/limits.ts'
import type { Service } from '../core/service.ts'
import type { Instance } from '../domain/deployment.ts'
import type { InstanceId } from '../domain/ids.ts'
import { restartPauseMs } from '../domain/restart-backoff.ts'
import type { ServiceConfig } from '../domain/service-config.ts'
import { probeOnce } from '../stages/probe.ts'
import { targetsOf } from '../stages/swap.ts'
import { describeExit, waitReady } from '../stages/wait-ready.ts'
import { isTransient, type Queryable } from '../store/database.ts'
import { getServiceEnvironment, lockServiceEnvironment, type ServiceEnvironment } from '../store/sql/catalog.ts'
import { appendEvents } from '../store/sql/events.ts'
import { findInstance, listInstances, saveInstances } from '../store/sql/instances.ts'
import { nextFence } from '../store/sql/leases.ts'
import { isShutDown, listWatched, setStatusReason } from '../store/sql/upkeep.ts'
import type { EngineDependencies } from './dependencies.ts'
import { Periodic } from './periodic.ts'
import { instanceSpec } from './stage-context.ts'

/**
 * Watches every serving instance of this server after its bake: one that exits, or fails its health check for `failureTimeout`, leaves
 * the edge, is restarted with growing pauses, and returns when it is ready (DESIGN.md §4). Route changes are made under the route's lock.
 */
export class HealthMonitor implements Service {
  readonly #dependencies: EngineDependencies
  readonly #watches = new Map<InstanceId, { stop: AbortController; ended: Promise<void> }>()
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
    const wanted = new Map(
      (await listWatched(this.#dependencies.database, this.#dependencies.owner.serverId)).map((entry) => [entry.id, entry.config]),
    )
    for (const [id, watch] of this.#watches) if (!wanted.has(id)) watch.stop.abort()
    for (const [id, config] of wanted) if (!this.#watches.has(id)) this.#begin(id, config)
  }

  #begin(id: InstanceId, config: ServiceConfig): void {
    const stop = new AbortController()
    const ended = watch(this.#dependencies, id, config, stop.signal)
      .catch((error: unknown) => {
        if (!stop.signal.aborted && !isTransient(error))
          this.#dependencies.logger.warn('watching an instance failed', { instanceId: id, error })
      })
      .finally(() => this.#watches.delete(id))
    this.#watches.set(id, { stop, ended })
  }
}

/** Until the instance is no longer ours to watch: wait for trouble, then bring it back. */
async function watch(dependencies: EngineDependencies, id: InstanceId, config: ServiceConfig, signal: AbortSignal): Promise<void> {
  const { clock } = dependencies
  await returnIfLost(dependencies, id, config, signal)
  for (let crashes = 0; !signal.aborted; ) {
    const begun = clock.monotonic()
    const trouble = await troubleOf(dependencies, id, config, signal)
    // Whoever ran well for a while starts anew with short pauses.
    crashes = clock.monotonic() - begun > LIMITS.restartBackoffMaxMs ? 1 : crashes + 1
    await leaveEdge(dependencies, id, trouble, crashes)
    await clock.sleep(restartPauseMs(crashes), signal)
    await bringBack(dependencies, id, config, signal).catch((error: unknown) => {
      // A start that is refused counts as a crash, so that the next one waits longer.
      if (signal.aborted || isTransient(error)) throw error
      dependencies.logger.warn('an instance could not be restarted', { instanceId: id, error })
    })
  }
}

interface Trouble {
  readonly type: 'instance.exited' | 'instance.unhealthy'
  readonly message: string
}

async function troubleOf(dependencies: EngineDependencies, id: InstanceId, config: ServiceConfig, signal: AbortSignal): Promise<Trouble> {
  const over = new AbortController()
  const both = AbortSignal.any([signal, over.signal])
  const { runtime } = dependencies.drivers
  const exit = runtime.waitForExit(id, both).then((status): Trouble => ({ type: 'instance.exited', message: describeExit(status) }))
  const watchers = config.run.healthCheck === null ? [exit] : [exit, failingHealth(dependencies, id, config, both)]
  try {
    return await Promise.race(watchers)
  } finally {
    over.abort()
    await Promise.allSettled(watchers)
  }
}

/** `disconnectTimeout` of failures: off the route. `failureTimeout`: trouble, restart. `recoveryTimeout` of passes: back on the route. */
async function failingHealth(
  dependencies: EngineDependencies,
  id: InstanceId,
  config: ServiceConfig,
  signal: AbortSignal,
): Promise<Trouble> {
  const check = config.run.healthCheck
  if (check === null) throw new Error('there is no health check')
  const { clock, drivers, database } = dependencies
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
        const instance = await findInstance(database, id)
        if (instance !== null)
          await returnToEdge(dependencies, { ...instance, address }, 'instance.recovered', 'passes its health check again')
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
      await leaveEdge(dependencies, id, { type: 'instance.unhealthy', message }, 0)
    }
  }
}

/**
 * Off the route, if another target is left on it. The only one stays there; when it is restarted (`crashes` > 0), requests wait at the
 * edge meanwhile, within a bound that is not moved by further crashes: nobody reaches it before it is ready again (I2).
 */
async function leaveEdge(dependencies: EngineDependencies, id: InstanceId, trouble: Trouble, crashes: number): Promise<void> {
  await withServing(dependencies, id, async (tx, target, instance) => {
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
  })
}

/**
 * Stop what is left, start, wait for readiness, return to the route. Only the right to do so is taken under the route's lock; stopping
 * and starting may take long and carry its fence: whoever changes the route meanwhile draws a newer one, and the old call is refused.
 */
async function bringBack(dependencies: EngineDependencies, id: InstanceId, config: ServiceConfig, signal: AbortSignal): Promise<void> {
  const { runtime } = dependencies.drivers
  const begun = await withServing(dependencies, id, async (tx, target, instance) => {
    const restarting = { ...instance, restarts: instance.restarts + 1 }
    await saveInstances(tx, [restarting])
    return { instance: restarting, fence: await nextFence(tx), spec: await instanceSpec(dependencies, tx, target, instance) }
  })
  if (begun === null) return
  await runtime.stop(id, { timeoutMs: config.deploy.stopTimeoutMs }, begun.fence)
  await runtime.start(begun.spec, begun.fence, signal)
  const readiness = await waitReady({ id }, config.deploy.readinessCheck, { runtime, clock: dependencies.clock, signal })
  if (!readiness.ready) {
    dependencies.logger.info('a restarted instance did not become ready', { instanceId: id, reason: readiness.reason })
    return
  }
  const restarted = { ...begun.instance, address: readiness.address }
  await returnToEdge(dependencies, restarted, 'instance.restarted', `restarted (${restarted.restarts} restarts so far)`)
}

/** Runs, but the route does not send to where it runs: whoever was bringing it back was cut (I5). */
async function returnIfLost(dependencies: EngineDependencies, id: InstanceId, config: ServiceConfig, signal: AbortSignal): Promise<void> {
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
  await returnToEdge(dependencies, { ...instance, address: readiness.address }, 'instance.recovered', 'is back on the route')
}

async function returnToEdge(
  dependencies: EngineDependencies,
  instance: Instance,
  type: 'instance.restarted' | 'instance.recovered',
  message: string,
): Promise<void> {
  await withServing(dependencies, instance.id, async (tx, target) => {
    const { edge } = dependencies.drivers
    const route = (await edge.read()).find((known) => known.id === target.id)
    // What is left on a held route is down: it comes back by itself once it is ready.
    const present = route === undefined || route.held ? [] : route.targets
    const others = present.filter((known) => known.instanceId !== instance.id)
    const serving = new Set((await listInstances(tx, target.id)).filter((known) => known.state === 'serving').map((known) => known.id))
    const targets = [...others.filter((known) => serving.has(known.instanceId)), ...targetsOf([instance])]
    const fence = await nextFence(tx)
    await edge.swap({ routeId: target.id, hosts: [target.host], pathPrefix: '', targets, fence, ifGeneration: route?.generation ?? null })
    await saveInstances(tx, [{ ...instance, state: 'serving' }])
    await setStatusReason(tx, instance.deploymentId, `${target.service} is live`)
    await appendEvents(tx, [monitorEvent(target, instance, type, `instance ${instance.index} ${message}`)])
  })
}

/** Under the route's lock, and only while the instance is (still) serving and not stopped on purpose; null when it is not. */
async function withServing<T>(
  dependencies: EngineDependencies,
  id: InstanceId,
  work: (tx: Queryable, target: ServiceEnvironment, instance: Instance) => Promise<T>,
): Promise<T | null> {
  const seen = await findInstance(dependencies.database, id)
  if (seen === null || (await getServiceEnvironment(dependencies.database, seen.serviceEnvironmentId)) === null) return null
  return dependencies.database.transaction(async (tx) => {
    const target = await lockServiceEnvironment(tx, seen.serviceEnvironmentId)
    const instance = await findInstance(tx, id)
    return instance?.state === 'serving' && !(await isShutDown(tx, target.id)) ? work(tx, target, instance) : null
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
