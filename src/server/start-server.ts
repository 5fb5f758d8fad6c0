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
import { Stops } from './stop-order.ts'

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
  const stops = new Stops(logger)
  try {
    return await assemble(settings, logger, stops)
  } catch (error) {
    await stops.run().catch(() => {})
    throw error
  }
}

async function assemble(settings: Settings, logger: Logger, stops: Stops): Promise<RunningServer> {
  if (settings.crashAt !== null) armCrashPoint(settings.crashAt)
  const data = settings.dataDirectory
  // Others may pass through (the database's and the apps' users must), nobody but us may look around.
  await mkdir(data, { recursive: true, mode: 0o711 })
  const lock = await acquireDirectoryLock(data)
  stops.set('directory lock', () => lock.release())

  const identity = await openIdentity(settings, logger, stops)
  const { database, embedded, node, keyring, rotation } = identity
  const local: Settings = { ...settings, dataDirectory: node.directory, edgeListen: node.edgeListen }
  const opened = await openEngine(local, logger, identity, stops, data)
  const { front, sandbox, networks, trees, memory, programs, hosts, uploads, caches, containerEngine, disk, guard } = opened
  const { duty, ending, notices, sender } = await composeDuty(local, opened, stops)
  const parts = {
    notices,
    uploads,
    sandbox,
    networks,
    trees,
    memory,
    programs,
    hosts,
    edge: front.edge,
    caches,
    containerEngine,
    keyring,
    rotation,
    sender,
    disk,
    guard,
  }
  const forApi = composeApi(local, opened.engine, { ...parts, isWorking: () => duty.isWorking })
  const apiServer = createApiServer(settings.apiListen, createApi(forApi), { announceIn: data, trustedProxies: settings.trustedProxies })
  // Both listeners before any work: a port that is taken ends the start with nothing done.
  await apiServer.start()
  stops.set('api', () => apiServer.stop())
  if (settings.hooksListen !== null) {
    const hooksServer = createApiServer(settings.hooksListen, createHooksApi(forApi), { trustedProxies: settings.trustedProxies })
    await hooksServer.start()
    stops.set('hooks listener', () => hooksServer.stop())
  }
  stops.set('edge connection', () => front.stop())
  await rotation.start()
  stops.set('key rotation', () => rotation.stop())
  stops.set('duty', () => duty.stop())
  await duty.start()
  if (!duty.isWorking)
    logger.info('standing by: another server of this node works', { node: node.directory, edge: formatListenAddress(node.edgeListen) })
  if (embedded !== null) stops.set('database keeper', await keepDatabase(settings, logger, database))

  return {
    apiUrl: apiServer.address.url,
    edgeUrl: front.edge.urlOf(settings.domain, ''),
    tokenPath: identity.tokenPath,
    stop: async (scope) => {
      ending.isOfEverything = scope === 'everything'
      // One that was adopted is left alone by a start that fails, but a server that ran takes it along.
      stops.set('embedded database', async () => embedded?.stop())
      await stops.run()
    },
  }
}
