import { mkdir } from 'node:fs/promises'
import { createApiServer } from '../api/api-server.ts'
import { createApi, createHooksApi } from '../api/create-api.ts'
import { formatListenAddress } from '../config/listen-address.ts'
import type { Settings } from '../config/settings.ts'
import { armCrashPoint } from '../core/crash-points.ts'
import { acquireDirectoryLock } from '../core/directory-lock.ts'
import type { Logger } from '../core/log.ts'
import { composeApi } from './compose-api.ts'
import { composeDuty } from './compose-duty.ts'
import { openEngine } from './open-engine.ts'
import { keepDatabase, openIdentity } from './open-identity.ts'

/** A server whose parts all run. */
export interface RunningServer {
  readonly apiUrl: string
  readonly edgeUrl: string
  readonly tokenPath: string
  /** `everything`: apps, edge and embedded database end too; otherwise apps and edge go on serving. */
  stop(scope: 'server' | 'everything'): Promise<void>
}

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

  const identity = await openIdentity(settings, logger, stops)
  const { database, embedded, node, keyring, rotation } = identity
  const local: Settings = { ...settings, dataDirectory: node.directory, edgeListen: node.edgeListen }
  const opened = await openEngine(local, logger, identity, stops)
  const { front, sandbox, uploads, caches, containerEngine, disk } = opened
  const { duty, ending, notices, sender } = await composeDuty(local, opened, stops)
  const parts = { notices, uploads, sandbox, edge: front.edge, caches, containerEngine, keyring, rotation, sender, disk }
  const forApi = composeApi(local, opened.engine, { ...parts, isWorking: () => duty.isWorking })
  const apiServer = createApiServer(settings.apiListen, createApi(forApi), { announceIn: data, trustedProxies: settings.trustedProxies })
  // Both listeners before any work: a port that is taken ends the start with nothing done.
  await apiServer.start()
  stops.push(() => apiServer.stop())
  if (settings.hooksListen !== null) {
    const hooksServer = createApiServer(settings.hooksListen, createHooksApi(forApi), { trustedProxies: settings.trustedProxies })
    await hooksServer.start()
    stops.push(() => hooksServer.stop())
  }
  stops.push(() => front.stop())
  await rotation.start()
  stops.push(() => rotation.stop())
  stops.push(() => duty.stop())
  await duty.start()
  if (!duty.isWorking)
    logger.info('standing by: another server of this node works', { node: node.directory, edge: formatListenAddress(node.edgeListen) })
  if (embedded !== null) stops.push(await keepDatabase(settings, logger, database))

  return {
    apiUrl: apiServer.address.url,
    edgeUrl: front.edge.urlOf(settings.domain, ''),
    tokenPath: identity.tokenPath,
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
