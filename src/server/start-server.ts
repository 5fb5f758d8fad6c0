import { randomUUID } from 'node:crypto'
import { mkdir, readFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { ensureAdminToken } from '../api/admin-token.ts'
import { createApiServer } from '../api/api-server.ts'
import { createApi, createHooksApi } from '../api/create-api.ts'
import { createBuildCaches } from '../builders/recipe/build-cache-store.ts'
import { formatListenAddress } from '../config/listen-address.ts'
import type { Settings } from '../config/settings.ts'
import { resolveVariables } from '../config/variables.ts'
import { writeFileAtomic } from '../core/atomic-file.ts'
import { systemClock } from '../core/clock.ts'
import { armCrashPoint } from '../core/crash-points.ts'
import { acquireDirectoryLock } from '../core/directory-lock.ts'
import { type KeySource, loadOrCreateKeys, parseKeys, readKeysAgain } from '../core/key-file.ts'
import { LIMITS } from '../core/limits.ts'
import type { Logger } from '../core/log.ts'
import { randomId } from '../core/random-id.ts'
import { Keyring } from '../core/seal.ts'
import type { Service } from '../core/service.ts'
import { ID_PREFIXES, type ServerId } from '../domain/ids.ts'
import type { EmbeddedEdge } from '../edge/embedded/embedded-edge.ts'
import type { EngineDependencies } from '../engine/dependencies.ts'
import { createGarbageCollector } from '../engine/garbage.ts'
import { HealthMonitor } from '../engine/health-monitor.ts'
import { KeyRotation } from '../engine/key-rotation.ts'
import { createSenders } from '../engine/outbox/sender.ts'
import { Periodic } from '../engine/periodic.ts'
import { createReaper } from '../engine/reaper.ts'
import { createReconciler } from '../engine/reconciler.ts'
import { Remover } from '../engine/remover.ts'
import { Scaler } from '../engine/scaler.ts'
import { createDecider } from '../engine/triggers/decider.ts'
import { createHeadChecker, createTriggerUpkeep } from '../engine/triggers/look-at-heads.ts'
import { createPreviewSweep } from '../engine/triggers/sweep-previews.ts'
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
import { composeEdge } from './compose-edge.ts'
import { composeEngine, composeRuntime } from './compose-engine.ts'
import { buildCacheBytes } from './compose-garbage.ts'
import { composeTriggers } from './compose-hooks.ts'
import { DiskWatch } from './disk-watch.ts'
import { Duty } from './duty.ts'
import { joinNode } from './node.ts'
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
  const { node, prepared: source } = await joinNode(database, settings, (directory) => keySource({ ...settings, dataDirectory: directory }))
  await registerServer(database, owner, hostname(), node.id)
  const token = await ensureAdminToken(database, data)
  const sealer = new Keyring(source.kind === 'file' ? await loadOrCreateKeys(source.path) : (parseKeys(source.text) ?? []), () =>
    source.kind === 'file' ? readKeysAgain(source.path) : null,
  )
  const rotation = new KeyRotation({ database, owner, clock: systemClock, logger, keyring: sealer, source })
  await rotation.adopt()

  // What stands in the node's directory is shared with the servers beside this one, and changed by the one of them that works.
  const shared = node.directory
  const local: Settings = { ...settings, dataDirectory: shared, edgeListen: node.edgeListen }
  const sandbox = await createSandbox({ stateDirectory: join(shared, 'sandbox'), logger })
  const composed = composeEdge(local, logger, database)
  const { edge } = composed
  const uploads = createUploadStore({ directory: join(shared, 'uploads') })
  const trees = new ProcessRuntime({ stateDirectory: join(shared, 'instances'), sandbox, logger })
  const containerEngine = await composeEngine(local)
  const { runtime, containers, ...engineParts } = await composeRuntime(local, logger, { trees, engine: containerEngine })
  stops.push(() => engineParts.stop())
  const caches = createBuildCaches({ directory: join(shared, 'work', 'cache'), bytesMax: settings.buildCacheMb * 1024 ** 2, logger })
  const images =
    containerEngine === null || containers === null ? null : createEngineImageStore(containerEngine, containers.owner, containers)
  const disk = new DiskWatch(settings.diskMark, async () => {
    const root = (await images?.root().catch(() => null)) ?? null
    return root === null ? [shared] : [shared, root]
  })
  const imageOwner = containers?.owner ?? ''
  const made = composeDrivers(local, logger, { sandbox, edge, uploads, runtime, caches, containerEngine, imageOwner })
  const drivers: Drivers = { ...made, images, disk }
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
  await mkdir(join(engine.workDirectory, 'deployments'), { recursive: true, mode: 0o711 })

  const worker = new Worker(engine)
  const notices = await openNotices(database, (payload) => worker.onNotice(payload))
  stops.push(notices.close)
  const sender = { ...engine, urlOf: (host: string) => edge.urlOf(host, ''), reach: settings.outgoing }
  const triggers = composeTriggers(local, engine)
  const decider = createDecider(triggers)
  const remover = new Remover(engine)
  notices.subscribe((notice) => {
    if (notice === null || notice.kind === 'delivery') decider.wake()
    if (notice === null || notice.kind === 'removal') remover.wake()
  })
  const ending = new Ending(engine, composed.embedded)
  const duty = new Duty({
    ...{ database, owner, clock: systemClock, logger, directory: shared },
    work: [
      ending,
      { start: () => sweepCredentials(join(shared, 'git')), stop: async () => {} },
      { start: () => trees.open(), stop: async () => trees.close() },
      { start: () => engineParts.begin(), stop: async () => {} },
      { start: () => composed.start(), stop: () => composed.stop() },
      ...[worker, new HealthMonitor(engine), createReconciler(engine), new Scaler(engine), remover, createReaper(engine)],
      ...[decider, createHeadChecker(triggers), createTriggerUpkeep(triggers), createPreviewSweep(triggers), ...createSenders(sender)],
      createGarbageCollector(engine, buildCacheBytes(settings)),
    ],
  })
  const forApi = composeApi(local, engine, {
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
    isWorking: () => duty.isWorking,
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
  stops.push(() => composed.stop())
  await rotation.start()
  stops.push(() => rotation.stop())
  stops.push(() => duty.stop())
  await duty.start()
  if (!duty.isWorking)
    logger.info('standing by: another server of this node works', { node: shared, edge: formatListenAddress(node.edgeListen) })
  if (embedded !== null) stops.push(await keepDatabase(settings, logger, database))

  return {
    apiUrl: apiServer.address.url,
    edgeUrl: edge.urlOf(settings.domain, ''),
    tokenPath: token.path,
    stop: async (scope) => {
      // The database is the last to go: until then every part may still write down what it did.
      const [releaseLock] = stops.splice(0, 3)
      ending.isOfEverything = scope === 'everything'
      await stopAll()
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

/** A key file is made here, so that servers that start at once find the same. */
async function keySource({ secretKey, secretKeyFile, dataDirectory }: Settings): Promise<KeySource> {
  if (secretKey !== null) return { kind: 'setting', text: secretKey }
  const path = secretKeyFile ?? join(dataDirectory, 'secret-key')
  await loadOrCreateKeys(path)
  return { kind: 'file', path }
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

/** Stops last of the work, while the node is still this server's alone: nobody starts again what it has just ended. */
class Ending implements Service {
  readonly #engine: EngineDependencies
  readonly #edge: EmbeddedEdge
  isOfEverything = false

  constructor(engine: EngineDependencies, edge: EmbeddedEdge) {
    this.#engine = engine
    this.#edge = edge
  }

  async start(): Promise<void> {}

  async stop(): Promise<void> {
    if (!this.isOfEverything) return
    const { database, drivers, logger } = this.#engine
    await this.#edge.stop().catch((error: unknown) => logger.warn('the edge did not stop cleanly', { error }))
    const running = (await drivers.runtime.list()).filter((entry) => entry.status.state === 'running')
    // The newest fence, and no larger: the next start must still be able to bring them back.
    const fence = await nextFence(database)
    await Promise.allSettled(running.map((entry) => drivers.runtime.stop(entry.id, { timeoutMs: FOREGROUND_STOP_MS }, fence)))
  }
}
const FOREGROUND_STOP_MS = 5000
