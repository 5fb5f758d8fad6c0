import { randomUUID } from 'node:crypto'
import { mkdir, readFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { ensureAdminToken } from '../api/admin-token.ts'
import { createApiServer } from '../api/api-server.ts'
import { createApi, createHooksApi } from '../api/create-api.ts'
import { createBuildCaches } from '../builders/recipe/build-cache-store.ts'
import type { Settings } from '../config/settings.ts'
import { resolveVariables } from '../config/variables.ts'
import { writeFileAtomic } from '../core/atomic-file.ts'
import { systemClock } from '../core/clock.ts'
import { armCrashPoint } from '../core/crash-points.ts'
import { acquireDirectoryLock } from '../core/directory-lock.ts'
import { type KeySource, loadOrCreateKeys, parseKeys } from '../core/key-file.ts'
import { LIMITS } from '../core/limits.ts'
import type { Logger } from '../core/log.ts'
import { randomId } from '../core/random-id.ts'
import { Keyring } from '../core/seal.ts'
import { ID_PREFIXES, type ServerId } from '../domain/ids.ts'
import { EmbeddedEdge } from '../edge/embedded/embedded-edge.ts'
import type { EngineDependencies } from '../engine/dependencies.ts'
import { createGarbageCollector } from '../engine/garbage.ts'
import { HealthMonitor } from '../engine/health-monitor.ts'
import { KeyRotation } from '../engine/key-rotation.ts'
import { createSenders } from '../engine/outbox/sender.ts'
import { Periodic } from '../engine/periodic.ts'
import { createReaper } from '../engine/reaper.ts'
import { createReconciler } from '../engine/reconciler.ts'
import { Scaler } from '../engine/scaler.ts'
import { createDecider } from '../engine/triggers/decider.ts'
import { createHeadChecker, createTriggerUpkeep } from '../engine/triggers/look-at-heads.ts'
import { Worker } from '../engine/worker.ts'
import { createEngineImageStore } from '../registry/engine-image-store.ts'
import { ProcessRuntime } from '../runtimes/process/process-runtime.ts'
import { createSandbox } from '../sandbox/create-sandbox.ts'
import { sweepCredentials } from '../sources/git-credentials.ts'
import { createUploadStore } from '../sources/upload.ts'
import type { Drivers } from '../stages/stage.ts'
import type { Database } from '../store/database.ts'
import { type EmbeddedDatabase, startEmbedded } from '../store/embedded.ts'
import { migrate } from '../store/migrate.ts'
import { openDatabase } from '../store/postgres.ts'
import { nextFence, type Owner } from '../store/sql/leases.ts'
import { registerServer } from '../store/sql/servers.ts'
import { composeApi } from './compose-api.ts'
import { composeDrivers } from './compose-drivers.ts'
import { composeEngine, composeRuntime } from './compose-engine.ts'
import { buildCacheBytes } from './compose-garbage.ts'
import { composeTriggers } from './compose-hooks.ts'
import { DiskWatch } from './disk-watch.ts'
import { openNotices } from './notices.ts'

/** A server whose parts all run. */
export interface RunningServer {
  readonly apiUrl: string
  readonly edgeUrl: string
  readonly tokenPath: string
  /** `everything`: apps, edge and embedded database end too; otherwise apps and edge go on serving. */
  stop(scope: 'server' | 'everything'): Promise<void>
}

const DATABASE_KEEPER_PERIOD_MS = 1000

/** Builds every part, starts them in order, stops them in reverse. */
export async function startServer(settings: Settings, logger: Logger): Promise<RunningServer> {
  const stops: (() => Promise<unknown>)[] = []
  const stopAll = async () => {
    for (const stop of [...stops].reverse()) await stop().catch((error: unknown) => logger.warn('a part did not stop cleanly', { error }))
    stops.length = 0
  }
  try {
    return await assemble(settings, logger, stops, stopAll)
  } catch (error) {
    await stopAll()
    throw error
  }
}

async function assemble(
  settings: Settings,
  logger: Logger,
  stops: (() => Promise<unknown>)[],
  stopAll: () => Promise<void>,
): Promise<RunningServer> {
  if (settings.crashAt !== null) armCrashPoint(settings.crashAt)
  const data = settings.dataDirectory
  // Others may pass through (the database's and the apps' users must), nobody but us may look around.
  await mkdir(data, { recursive: true, mode: 0o711 })
  const lock = await acquireDirectoryLock(data)
  stops.push(() => lock.release())

  const { database, embedded } = await openStore(settings, logger, stops)
  const owner: Owner = { serverId: await serverIdOf(data), bootId: randomUUID() }
  await registerServer(database, owner, hostname())
  const token = await ensureAdminToken(database, data)
  const source = keySource(settings)
  const sealer = new Keyring(source.kind === 'file' ? await loadOrCreateKeys(source.path) : (parseKeys(source.text) ?? []))
  const rotation = new KeyRotation({ database, owner, clock: systemClock, logger, keyring: sealer, source })
  await rotation.adopt()

  await sweepCredentials(join(data, 'git'))
  const sandbox = await createSandbox({ stateDirectory: join(data, 'sandbox'), logger })
  const edge = new EmbeddedEdge({ stateDirectory: join(data, 'edge'), listen: settings.edgeListen, workers: settings.edgeWorkers, logger })
  const uploads = createUploadStore({ directory: join(data, 'uploads') })
  const trees = new ProcessRuntime({ stateDirectory: join(data, 'instances'), sandbox, logger })
  await trees.open()
  stops.push(async () => trees.close())
  const containerEngine = await composeEngine(settings)
  const { runtime, containers, stop: letGoOfContainers } = await composeRuntime(settings, logger, { trees, engine: containerEngine })
  stops.push(letGoOfContainers)
  const caches = createBuildCaches({ directory: join(data, 'work', 'cache'), bytesMax: settings.buildCacheMb * 1024 ** 2, logger })
  const images =
    containerEngine === null || containers === null ? null : createEngineImageStore(containerEngine, containers.owner, containers)
  const disk = new DiskWatch(settings.diskMark, async () => {
    const root = (await images?.root().catch(() => null)) ?? null
    return root === null ? [data] : [data, root]
  })
  const imageOwner = containers?.owner ?? ''
  const made = composeDrivers(settings, logger, { sandbox, edge, uploads, runtime, caches, containerEngine, imageOwner })
  const drivers: Drivers = { ...made, images, disk }
  const engine: EngineDependencies = {
    database,
    drivers,
    owner,
    sealer,
    clock: systemClock,
    logger,
    workDirectory: join(data, 'work'),
    uploads,
    slots: settings.maxConcurrentBuilds,
    buildTimeoutMs: settings.buildTimeoutMs,
    resolveVariables: (layers, builtins) => resolveVariables({ layers, builtins }).env,
  }
  await mkdir(join(engine.workDirectory, 'deployments'), { recursive: true, mode: 0o711 })

  const worker = new Worker(engine)
  const notices = await openNotices(database, (payload) => worker.onNotice(payload))
  stops.push(notices.close)
  const sender = { ...engine, urlOf: (host: string) => edge.urlOf(host, ''), reach: settings.outgoing }
  const triggers = composeTriggers(settings, engine)
  const decider = createDecider(triggers)
  notices.subscribe((notice) => {
    if (notice === null || notice.kind === 'delivery') decider.wake()
  })
  const forApi = composeApi(settings, engine, {
    notices,
    uploads,
    sandbox,
    edge,
    caches,
    containerEngine,
    keyring: sealer,
    rotation,
    sender,
    disk,
  })
  const api = createApi(forApi)
  const apiServer = createApiServer(settings.apiListen, api, { announceIn: data })
  // Both listeners before any work: a port that is taken ends the start with nothing done.
  await apiServer.start()
  stops.push(() => apiServer.stop())
  if (settings.hooksListen !== null) {
    const hooksServer = createApiServer(settings.hooksListen, createHooksApi(forApi))
    await hooksServer.start()
    stops.push(() => hooksServer.stop())
  }
  await edge.start()
  stops.push(() => edge.detach())
  const parts = [decider, createHeadChecker(triggers), createTriggerUpkeep(triggers), ...createSenders(sender)]
  for (const service of [
    rotation,
    worker,
    new HealthMonitor(engine),
    createReconciler(engine),
    new Scaler(engine),
    createReaper(engine),
    ...parts,
    createGarbageCollector(engine, buildCacheBytes(settings)),
  ]) {
    await service.start()
    stops.push(() => service.stop())
  }
  if (embedded !== null) stops.push(await keepDatabase(settings, logger, database))

  return {
    apiUrl: apiServer.address.url,
    edgeUrl: edge.urlOf(settings.domain, ''),
    tokenPath: token.path,
    stop: async (scope) => {
      // The database is the last to go: until then every part may still write down what it did.
      const [releaseLock] = stops.splice(0, 3)
      await stopAll()
      if (scope === 'everything') await stopInstancesAndEdge(engine, edge)
      await database.close()
      await embedded?.stop()
      await releaseLock?.()
    },
  }
}

async function openStore(
  settings: Settings,
  logger: Logger,
  stops: (() => Promise<unknown>)[],
): Promise<{ database: Database; embedded: EmbeddedDatabase | null }> {
  const embedded = settings.databaseUrl === null ? await startEmbedded({ dataDirectory: settings.dataDirectory, logger }) : null
  const connection = embedded === null ? { url: settings.databaseUrl ?? '' } : embedded.connection
  // A start that fails, here or later, leaves nothing behind that it brought up itself.
  stops.push(async () => (embedded?.adopted === false ? embedded.stop() : undefined))
  const database = openDatabase({ connection, poolMax: LIMITS.databaseConnections, logger })
  stops.push(() => database.close())
  await migrate(database)
  return { database, embedded }
}

/** An embedded PostgreSQL that was killed is started again; the pool finds it at the same socket. */
async function keepDatabase(settings: Settings, logger: Logger, database: Database): Promise<() => Promise<void>> {
  const keeper = new Periodic('database keeper', DATABASE_KEEPER_PERIOD_MS, { clock: systemClock, logger }, async () => {
    try {
      await database.query('select 1')
    } catch {
      await startEmbedded({ dataDirectory: settings.dataDirectory, logger })
    }
  })
  await keeper.start()
  return () => keeper.stop()
}

function keySource({ secretKey, secretKeyFile, dataDirectory }: Settings): KeySource {
  return secretKey === null
    ? { kind: 'file', path: secretKeyFile ?? join(dataDirectory, 'secret-key') }
    : { kind: 'setting', text: secretKey }
}

/** Drawn once per data directory. */
async function serverIdOf(data: string): Promise<ServerId> {
  const path = join(data, 'server-id')
  const present = (await readFile(path, 'utf8').catch(() => '')).trim()
  if (/^srv_[0-9a-z]+$/.test(present)) return present as ServerId
  const id = randomId<ServerId>(ID_PREFIXES.ServerId)
  await writeFileAtomic(path, `${id}\n`)
  return id
}

async function stopInstancesAndEdge({ database, drivers, logger }: EngineDependencies, edge: EmbeddedEdge): Promise<void> {
  await edge.stop().catch((error: unknown) => logger.warn('the edge did not stop cleanly', { error }))
  const running = (await drivers.runtime.list()).filter((entry) => entry.status.state === 'running')
  // The newest fence, and no larger: the next start must still be able to bring them back.
  const fence = await nextFence(database)
  await Promise.allSettled(running.map((entry) => drivers.runtime.stop(entry.id, { timeoutMs: FOREGROUND_STOP_MS }, fence)))
}
const FOREGROUND_STOP_MS = 5000
