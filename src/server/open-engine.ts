import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { createBuildCaches } from '../builders/recipe/build-cache-store.ts'
import type { Settings } from '../config/settings.ts'
import { resolveVariables } from '../config/variables.ts'
import { systemClock } from '../core/clock.ts'
import { createHostGuard } from '../core/host-guard.ts'
import type { Logger } from '../core/log.ts'
import type { EngineDependencies } from '../engine/dependencies.ts'
import { createEngineImageStore } from '../registry/engine-image-store.ts'
import { ProcessRuntime } from '../runtimes/process/process-runtime.ts'
import { createConfinedPrograms } from '../sandbox/confined-programs.ts'
import { createSandbox } from '../sandbox/create-sandbox.ts'
import { createUploadStore } from '../sources/upload.ts'
import type { Drivers } from '../stages/stage.ts'
import { composeDiskGuard, whyProjectFull } from './compose-disk.ts'
import { composeDrivers } from './compose-drivers.ts'
import { composeEdge } from './compose-edge.ts'
import { composeEngine, composeRuntime } from './compose-engine.ts'
import { relieveDisk } from './compose-garbage.ts'
import { composeNetworks } from './compose-networks.ts'
import { DiskWatch } from './disk-watch.ts'
import type { Identity } from './open-identity.ts'
import { openMemory } from './open-memory.ts'
import type { Stops } from './stop-order.ts'

export type OpenEngine = Awaited<ReturnType<typeof openEngine>>

/**
 * Every driver, and the engine over them. `settings` are those of the node: what stands in its directory is shared with the servers beside
 * this one, and changed by the one of them that works. Nothing is begun here.
 */
export async function openEngine(
  settings: Settings,
  logger: Logger,
  identity: Identity,
  stops: Stops,
  /** This server's data directory, which may be another than the node's. */
  ownDirectory: string,
) {
  const { database, owner, keyring: sealer } = identity
  const shared = settings.dataDirectory
  const memory = await openMemory(shared)
  const networks = await composeNetworks(settings, logger)
  const sandbox = await createSandbox({ stateDirectory: join(shared, 'sandbox'), logger, memory, networkSummary: networks.summary })
  if (settings.allowFileSources === true) {
    const instead = 'name the directories in SHIPLOCK_FILE_SOURCE_DIRECTORIES'
    logger.warn('SHIPLOCK_ALLOW_FILE_SOURCES has no effect any more', { instead })
  }
  const programs = createConfinedPrograms(sandbox)
  const hosts = createHostGuard({ reach: settings.sourceReach, allowed: settings.sourceHosts })
  const front = composeEdge(settings, logger, database)
  const { edge } = front
  const uploads = createUploadStore({ directory: join(shared, 'uploads') })
  const { instanceDiskMb } = settings
  const trees = new ProcessRuntime({ stateDirectory: join(shared, 'instances'), sandbox, networks, memory, logger, instanceDiskMb })
  const containerEngine = await composeEngine(settings)
  const { runtime, containers, ...engineParts } = await composeRuntime(settings, logger, { trees, engine: containerEngine })
  stops.set('container engine', () => engineParts.stop())
  const caches = createBuildCaches({ directory: join(shared, 'work', 'cache'), bytesMax: settings.buildCacheMb * 1024 ** 2, logger })
  const images =
    containerEngine === null || containers === null ? null : createEngineImageStore(containerEngine, containers.owner, containers)
  const engineRoot = async () => (await images?.root().catch(() => null)) ?? null
  const disk = new DiskWatch(settings.diskMark, async () => {
    const root = await engineRoot()
    return root === null ? [shared] : [shared, root]
  })
  disk.overProject = (deployment) => whyProjectFull(settings, database, deployment)
  const guard = composeDiskGuard(settings, logger, { database, runtime, engineRoot })
  const imageOwner = containers?.owner ?? ''
  const outside = { programs, hosts, ownDirectories: [ownDirectory, shared], memory, registry: guard }
  const made = composeDrivers(settings, logger, { sandbox, edge, uploads, runtime, caches, containerEngine, imageOwner, ...outside })
  const layerImages = async () => {
    const layers = [...(await caches.list()), ...((await made.runtimeLayers?.list()) ?? [])]
    return layers.flatMap(({ image }) => image ?? [])
  }
  const drivers: Drivers = { ...made, images, layerImages, disk }
  const engine: EngineDependencies = {
    database,
    drivers,
    owner,
    sealer,
    clock: systemClock,
    logger,
    workDirectory: join(shared, 'work'),
    uploads,
    slots: settings.maxConcurrentBuilds,
    buildTimeoutMs: settings.buildTimeoutMs,
    resolveVariables: (layers, builtins) => resolveVariables({ layers, builtins }).env,
  }
  disk.relieve = (deployment) => relieveDisk(engine, deployment)
  await mkdir(join(engine.workDirectory, 'deployments'), { recursive: true, mode: 0o711 })
  return {
    engine,
    front,
    sandbox,
    networks,
    memory,
    programs,
    hosts,
    uploads,
    trees,
    containerEngine,
    beginContainers: engineParts.begin,
    caches,
    disk,
    guard,
  }
}
