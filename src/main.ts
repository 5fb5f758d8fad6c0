import { randomUUID } from 'node:crypto'
import { mkdir, readFile, statfs } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ensureAdminToken } from './api/admin-token.ts'
import { createApiServer } from './api/api-server.ts'
import { createApi } from './api/create-api.ts'
import type { ApiDependencies } from './api/dependencies.ts'
import { createTreeStore } from './artifacts/tree-store.ts'
import type { BuildCaches } from './builders/build-caches.ts'
import { createBuildCaches } from './builders/recipe/build-cache-store.ts'
import { buildLimits, createRecipeBuilder } from './builders/recipe/recipe-builder.ts'
import { createRuntimeLayers } from './builders/recipe/runtime-layer-store.ts'
import { resolveService } from './config/resolve.ts'
import { loadSettings, type Settings } from './config/settings.ts'
import { resolveVariables } from './config/variables.ts'
import type { Finding } from './contract/server.ts'
import { writeFileAtomic } from './core/atomic-file.ts'
import { systemClock } from './core/clock.ts'
import { armCrashPoint } from './core/crash-points.ts'
import { acquireDirectoryLock } from './core/directory-lock.ts'
import { toShiplockError } from './core/errors.ts'
import { LIMITS } from './core/limits.ts'
import { createLogger, type Logger } from './core/log.ts'
import { packTree } from './core/pack-tree.ts'
import { randomId } from './core/random-id.ts'
import { createSealer, loadOrCreateKey } from './core/seal.ts'
import { walkTree } from './core/walk-tree.ts'
import { ID_PREFIXES, type ServerId } from './domain/ids.ts'
import { EmbeddedEdge } from './edge/embedded/embedded-edge.ts'
import type { EngineDependencies } from './engine/dependencies.ts'
import { explainRollback } from './engine/explain-rollback.ts'
import { HealthMonitor } from './engine/health-monitor.ts'
import { Periodic } from './engine/periodic.ts'
import { createReaper } from './engine/reaper.ts'
import { createReconciler } from './engine/reconciler.ts'
import { Scaler } from './engine/scaler.ts'
import { Worker } from './engine/worker.ts'
import { createLocalRegistry } from './registry/local.ts'
import { ProcessRuntime } from './runtimes/process/process-runtime.ts'
import { createSandbox } from './sandbox/create-sandbox.ts'
import type { Sandbox } from './sandbox/sandbox.ts'
import { createUnavailableScanner } from './scanner/unavailable.ts'
import { createGitSource } from './sources/git.ts'
import { createUploadStore } from './sources/upload.ts'
import type { Drivers } from './stages/stage.ts'
import { CHANNEL, type Notice, parseNotice } from './store/channels.ts'
import type { Database } from './store/database.ts'
import { diagnoseEmbedded } from './store/embedded/diagnose.ts'
import { type EmbeddedDatabase, startEmbedded } from './store/embedded.ts'
import { migrate } from './store/migrate.ts'
import { openDatabase } from './store/postgres.ts'
import { nextFence, type Owner } from './store/sql/leases.ts'
import { registerServer } from './store/sql/servers.ts'

/** The composition root: reads the settings, builds every part, starts them in order, stops them in reverse. */
export interface RunningServer {
  readonly apiUrl: string
  readonly edgeUrl: string
  readonly tokenPath: string
  /** `everything`: apps, edge and embedded database end too; otherwise apps and edge go on serving. */
  stop(scope: 'server' | 'everything'): Promise<void>
}

const DATABASE_KEEPER_PERIOD_MS = 1000

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
  const sealer = createSealer(await loadOrCreateKey(join(data, 'secret-key')))

  const sandbox = await createSandbox({ stateDirectory: join(data, 'sandbox'), logger })
  const edge = new EmbeddedEdge({ stateDirectory: join(data, 'edge'), listen: settings.edgeListen, workers: settings.edgeWorkers, logger })
  const uploads = createUploadStore({ directory: join(data, 'uploads') })
  const runtime = new ProcessRuntime({ stateDirectory: join(data, 'instances'), sandbox, logger })
  await runtime.open()
  stops.push(async () => runtime.close())
  const caches = createBuildCaches({ directory: join(data, 'work', 'cache'), bytesMax: settings.buildCacheMb * 1024 ** 2, logger })
  const drivers = composeDrivers(settings, logger, { sandbox, edge, uploads, runtime, caches })
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
  const api = createApi(composeApi(settings, engine, { notices, uploads, sandbox, edge, caches }))
  const apiServer = createApiServer(settings.apiListen, api, { announceIn: data })
  // Both listeners before any work: a port that is taken ends the start with nothing done.
  await apiServer.start()
  stops.push(() => apiServer.stop())
  await edge.start()
  stops.push(() => edge.detach())
  for (const service of [worker, new HealthMonitor(engine), createReconciler(engine), new Scaler(engine), createReaper(engine)]) {
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

function composeDrivers(
  settings: Settings,
  logger: Logger,
  parts: {
    sandbox: Sandbox
    edge: EmbeddedEdge
    uploads: ReturnType<typeof createUploadStore>
    runtime: ProcessRuntime
    caches: BuildCaches
  },
): Drivers {
  const data = settings.dataDirectory
  const { runtime, sandbox, caches } = parts
  const limits = buildLimits({
    cpus: settings.buildCpus,
    diskBytes: settings.buildDiskMb * 1024 ** 2,
    ...(settings.buildMemoryMb === null ? {} : { memoryMb: settings.buildMemoryMb }),
  })
  const { bases } = settings
  return {
    sources: {
      git: createGitSource({ allowFile: settings.allowFileSources, stateDirectory: join(data, 'git'), logger }),
      upload: parts.uploads,
      image: null,
    },
    builders: { recipe: createRecipeBuilder({ sandbox, logger, caches, bases, ...limits }), dockerfile: null, image: null },
    artifacts: createTreeStore({ directory: join(data, 'artifacts') }),
    runtimeLayers: createRuntimeLayers({ directory: join(data, 'work', 'runtime-layers'), sandbox, limits, caches, bases }),
    scanner: createUnavailableScanner('no scanner is configured on this server'),
    registry: createLocalRegistry(),
    runtime,
    edge: parts.edge,
    config: {
      resolveService: async (request) => {
        const resolved = await resolveService({ ...request, artifacts: runtime.capabilities.artifacts })
        return { config: resolved.config, origin: resolved.origin, detected: [...resolved.detected, ...resolved.notes] }
      },
    },
  }
}

function composeApi(
  settings: Settings,
  engine: EngineDependencies,
  parts: { notices: Notices; uploads: ReturnType<typeof createUploadStore>; sandbox: Sandbox; edge: EmbeddedEdge; caches: BuildCaches },
): ApiDependencies {
  const { drivers } = engine
  return {
    database: engine.database,
    notices: parts.notices,
    clock: engine.clock,
    logger: engine.logger,
    version: VERSION,
    defaults: DEFAULT_NAMES,
    slots: engine.slots,
    allowedHosts: [],
    urlOf: (host) => parts.edge.urlOf(host, ''),
    hostFor: (names) => hostFor(names, settings.domain),
    uploads: parts.uploads,
    validateSource: (source) => {
      const fetcher = drivers.sources[source.kind]
      if (fetcher === null) throw toShiplockError(new Error(`this server takes no source of kind ${source.kind}`))
      fetcher.validate(source)
    },
    artifacts: {
      pack: async (digest) => {
        const directory = await drivers.artifacts.find(digest)
        return directory === null ? null : packTree(directory, await walkTree(directory))
      },
    },
    caches: composeCaches(drivers, parts.caches),
    seal: (value) => engine.sealer.seal(value),
    instanceLogs: (id, options) => drivers.runtime.logs(id, options),
    explainRollback: (target, release, variables) => explainRollback(engine, target, release, variables),
    checks: () => checkParts(settings, engine, parts.sandbox),
  }
}

/** Build caches and runtime layers as one thing for people. */
function composeCaches({ runtimeLayers }: Drivers, caches: BuildCaches): ApiDependencies['caches'] {
  return {
    list: async () => [
      ...(await caches.list()),
      ...((await runtimeLayers?.list()) ?? []).map(({ id: _, ...layer }) => ({ ...layer, layer: 'run' as const })),
    ],
    clear: async (id, layer) => ({
      bytes: layer === 'run' ? 0 : await caches.clear(id, layer),
      runtimeLayers: layer === 'run' || layer === 'all' ? ((await runtimeLayers?.invalidate(id)) ?? 0) : 0,
    }),
  }
}

const DEFAULT_NAMES = { project: 'default', environment: 'production' }
const VERSION = '0.1.0'

/** `<service>.<domain>`, with what differs from the defaults in between: `api-staging`, `api-shop`, `api-staging-shop`. */
export function hostFor(names: { project: string; environment: string; service: string }, domain: string): string {
  const environment = names.environment === DEFAULT_NAMES.environment ? [] : [names.environment]
  const project = names.project === DEFAULT_NAMES.project ? [] : [names.project]
  return `${[names.service, ...environment, ...project].join('-')}.${domain}`
}

interface Notices {
  subscribe(listener: (notice: Notice | null) => void): () => void
  close(): Promise<void>
}

async function openNotices(database: Database, first: (payload: string | null) => void): Promise<Notices> {
  const listeners = new Set<(notice: Notice | null) => void>()
  const close = await database.listen(CHANNEL, (payload) => {
    first(payload)
    const notice = payload === null ? null : parseNotice(payload)
    for (const listener of listeners) listener(notice)
  })
  return {
    subscribe: (listener) => {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    close,
  }
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

async function checkParts(settings: Settings, engine: EngineDependencies, sandbox: Sandbox): Promise<Finding[]> {
  const signal = AbortSignal.timeout(5000)
  const { drivers, database } = engine
  const [runtime, edge, scanner] = await Promise.all([
    drivers.runtime.check(signal),
    drivers.edge.check(signal),
    drivers.scanner.check(signal),
  ])
  const store = await database.query<{ version: string }>('show server_version').then(
    ([row]) => ({ ok: true, summary: `PostgreSQL ${(row as { server_version?: string } | undefined)?.server_version ?? ''}` }),
    (error: Error) => ({ ok: false, summary: error.message }),
  )
  const { isolated, summary } = { isolated: sandbox.description.kind !== 'none', summary: sandbox.description.summary }
  return [
    finding('database', store.ok ? 'ok' : 'failed', store.summary),
    finding('runtime', runtime.ok ? 'ok' : 'failed', runtime.summary),
    finding('sandbox', isolated ? 'ok' : 'warning', summary),
    finding('edge', edge.ok ? 'ok' : 'failed', edge.summary),
    finding('scanner', scanner.ok ? 'ok' : 'warning', scanner.summary),
    await diskFinding(settings.dataDirectory),
  ]
}

function finding(name: string, status: Finding['status'], summary: string, hint: string | null = null): Finding {
  return { name, status, summary, hint }
}

async function diskFinding(directory: string): Promise<Finding> {
  const { bavail, bsize } = await statfs(directory)
  const free = bavail * bsize
  const summary = `${(free / 1024 ** 3).toFixed(1)} GiB free at ${directory}`
  return free < LIMITS.diskFreeBytesMin
    ? finding('disk', 'warning', summary, 'Free some space: builds need it.')
    : finding('disk', 'ok', summary)
}

/** What can be said without a server: for `shiplock doctor`. */
async function diagnose(settings: Settings): Promise<Finding[]> {
  await mkdir(settings.dataDirectory, { recursive: true, mode: 0o711 })
  const sandbox = await createSandbox({ stateDirectory: join(settings.dataDirectory, 'sandbox'), logger: createLogger('silent') })
  const store =
    settings.databaseUrl === null
      ? (await diagnoseEmbedded(settings.dataDirectory)).map((entry) =>
          finding(`database: ${entry.title}`, entry.ok ? 'ok' : 'failed', entry.detail, entry.advice === '' ? null : entry.advice),
        )
      : [finding('database', 'ok', 'DATABASE_URL is set')]
  return [
    ...store,
    finding('sandbox', sandbox.description.kind === 'none' ? 'warning' : 'ok', sandbox.description.summary),
    await diskFinding(settings.dataDirectory),
  ]
}

async function main(): Promise<void> {
  const env = process.env
  const settings = loadSettings(env, { file: env.SHIPLOCK_SERVER_CONFIG ?? null })
  if (process.argv[2] === 'doctor') {
    process.stdout.write(`${JSON.stringify(await diagnose(settings))}\n`)
    return
  }
  const logger = createLogger(settings.logLevel)
  const server = await startServer(settings, logger)
  const isForeground = env.SHIPLOCK_FOREGROUND === '1'
  logger.info('the server is ready', { api: server.apiUrl, edge: server.edgeUrl, pid: process.pid, foreground: isForeground })
  process.send?.({ kind: 'ready', apiUrl: server.apiUrl, edgeUrl: server.edgeUrl, tokenPath: server.tokenPath })
  let isStopping = false
  const stop = (signal: NodeJS.Signals) => {
    if (isStopping) return
    isStopping = true
    // SIGQUIT is `shiplock server stop --all`.
    const scope = isForeground || signal === 'SIGQUIT' ? 'everything' : 'server'
    logger.info(scope === 'everything' ? 'stopping server, apps and edge' : 'stopping the server; apps and edge go on', { signal })
    void server.stop(scope).then(
      () => process.exit(0),
      (error: unknown) => {
        logger.error('the stop failed', { error })
        process.exit(4)
      },
    )
  }
  process.on('SIGINT', stop)
  process.on('SIGTERM', stop)
  process.on('SIGQUIT', stop)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  main().catch((error: unknown) => {
    const known = toShiplockError(error)
    process.stderr.write(
      `${JSON.stringify({ level: 'fatal', code: known.code, message: known.message, hint: known.hint, details: known.details })}\n`,
    )
    process.exit(known.info.exit)
  })
}
