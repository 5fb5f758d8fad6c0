import { crashPoint } from '../core/crash-points.ts'
import { LIMITS } from '../core/limits.ts'
import type { Service } from '../core/service.ts'
import type { ServiceEnvironmentId } from '../domain/ids.ts'
import { isTransient } from '../store/database.ts'
import { getServiceEnvironment, lockServiceEnvironment } from '../store/sql/catalog.ts'
import { nextFence } from '../store/sql/leases.ts'
import {
  finishEnvironmentRemoval,
  finishRemoval,
  isRemovable,
  listEmptyRemovals,
  listInstancesToRemove,
  listRemovals,
  markInstancesRemoved,
  type RemovedInstance,
  takeOffline,
} from '../store/sql/removals.ts'
import type { EngineDependencies } from './dependencies.ts'
import { Periodic } from './periodic.ts'

/**
 * Carries out what `beginRemoval` has written down: the route first, then the instances, then the rows. Each step looks at what is left,
 * so one that was cut is simply begun again. Whatever else runs is not touched.
 */
export class Remover implements Service {
  readonly #dependencies: EngineDependencies
  readonly #rounds: Periodic
  readonly #works = new Map<ServiceEnvironmentId, Promise<void>>()
  #stopping = new AbortController()

  constructor(dependencies: EngineDependencies) {
    this.#dependencies = dependencies
    this.#rounds = new Periodic('remover', LIMITS.removerPeriodMs, dependencies, () => this.#look())
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

  wake(): void {
    this.#rounds.wake()
  }

  /** One that drains for long keeps no other one waiting. */
  async #look(): Promise<void> {
    const { database, logger } = this.#dependencies
    const { signal } = this.#stopping
    for (const id of await listEmptyRemovals(database)) await database.transaction((tx) => finishEnvironmentRemoval(tx, id))
    for (const id of await listRemovals(database)) {
      if (this.#works.has(id) || signal.aborted) continue
      const work = removeService(this.#dependencies, id, signal)
        .catch((error: unknown) => {
          if (!signal.aborted && !isTransient(error)) logger.warn('a removal was cut short', { serviceEnvironmentId: id, error })
        })
        .finally(() => this.#works.delete(id))
      this.#works.set(id, work)
    }
  }
}

async function removeService(dependencies: EngineDependencies, id: ServiceEnvironmentId, signal: AbortSignal): Promise<void> {
  const { database, drivers, logger } = dependencies
  const leaving = await leaveRoute(dependencies, id)
  if (leaving === null) return
  await stopInstances(dependencies, id, leaving, signal)
  await drivers.runtimeLayers?.invalidate(id).catch((error: unknown) => logger.debug('a runtime layer stays', { error: error as Error }))
  const target = await getServiceEnvironment(database, id)
  if (target === null || !(await database.transaction((tx) => finishRemoval(tx, target)))) return
  crashPoint('removal.recorded')
  logger.info('a service was removed', { project: target.project, environment: target.environment, service: target.service })
}

interface Leaving {
  readonly instances: readonly RemovedInstance[]
  readonly fence: number
}

/** From here on nobody reaches it: no route, nothing live, so that no other part brings it back. Null = it is not to be removed now. */
async function leaveRoute(dependencies: EngineDependencies, id: ServiceEnvironmentId): Promise<Leaving | null> {
  const { database, drivers, owner } = dependencies
  if ((await getServiceEnvironment(database, id)) === null) return null
  return database.transaction(async (tx) => {
    const target = await lockServiceEnvironment(tx, id)
    if (!(await isRemovable(tx, id))) return null
    const instances = await listInstancesToRemove(tx, id, owner.serverId)
    const fence = await nextFence(tx)
    await drivers.edge.remove(id, fence)
    crashPoint('removal.route-gone-not-recorded')
    await takeOffline(
      tx,
      target,
      instances.map(({ instance }) => instance),
    )
    return { instances, fence }
  })
}

/** Requests that are under way end where they began; only then is anything told to stop. */
async function stopInstances(
  { database, drivers }: EngineDependencies,
  id: ServiceEnvironmentId,
  { instances, fence }: Leaving,
  signal: AbortSignal,
): Promise<void> {
  if (instances.length === 0) return
  const timeoutMs = Math.max(...instances.map(({ config }) => config.deploy.drainTimeoutMs))
  const ids = instances.map(({ instance }) => instance.id)
  await unlessAborted(drivers.edge.drain(id, ids, { timeoutMs, fence }), signal)
  await Promise.all(
    instances.map(async ({ instance, config }) => {
      await drivers.runtime.stop(instance.id, { timeoutMs: config.deploy.stopTimeoutMs }, fence)
      await drivers.runtime.remove(instance.id, fence)
    }),
  )
  crashPoint('removal.stopped-not-recorded')
  await database.transaction((tx) =>
    markInstancesRemoved(
      tx,
      instances.map(({ instance }) => instance),
    ),
  )
}

/** A server that stops does not wait for the last request of an app that goes; the next one drains again. */
function unlessAborted(work: Promise<unknown>, signal: AbortSignal): Promise<unknown> {
  if (signal.aborted) return Promise.reject(signal.reason)
  return new Promise((resolve, reject) => {
    const give = () => reject(signal.reason)
    signal.addEventListener('abort', give, { once: true })
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', give))
  })
}
