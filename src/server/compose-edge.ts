import { join } from 'node:path'
import { isLoopback } from '../config/listen-address.ts'
import type { Settings } from '../config/settings.ts'
import { writeFileAtomic } from '../core/atomic-file.ts'
import { systemClock } from '../core/clock.ts'
import type { Logger } from '../core/log.ts'
import type { Edge } from '../edge/edge.ts'
import { EmbeddedEdge } from '../edge/embedded/embedded-edge.ts'
import { TraefikProvider } from '../edge/traefik/provider.ts'
import { TraefikEdge } from '../edge/traefik/traefik-edge.ts'
import type { Database } from '../store/database.ts'
import { listHosts } from '../store/sql/catalog.ts'
import { openTraefikToken } from './traefik-token.ts'

export interface ComposedEdge {
  /** What the engine talks to. */
  readonly edge: Edge
  /** The process that switches, in front or behind. */
  readonly embedded: EmbeddedEdge
  start(): Promise<void>
  /** Lets go of it: traffic goes on. */
  stop(): Promise<void>
}

/** The edge as the settings say. */
export function composeEdge(settings: Settings, logger: Logger, database: Database): ComposedEdge {
  const isBehind = settings.edge === 'traefik'
  const entry = settings.traefikEntry
  const front = isBehind ? entry : settings.edgeFront
  const embedded = new EmbeddedEdge({
    stateDirectory: join(settings.dataDirectory, 'edge'),
    listen: settings.edgeListen,
    workers: settings.edgeWorkers,
    logger,
    ...(settings.sharedCookies ? {} : { cookieBase: settings.domain }),
    responseTimeoutMs: settings.responseTimeoutMs,
    ...(isBehind || front !== null ? { trustsForwarded: true } : {}),
    ...(front === null ? {} : { publicOrigin: { scheme: front.isTls ? ('https' as const) : ('http' as const), port: front.port } }),
  })
  if (!isBehind) return { edge: embedded, embedded, start: () => embedded.start(), stop: () => embedded.detach() }
  const edge = new TraefikEdge({
    inner: embedded,
    routing: () => ({
      innerUrl: settings.traefikInner ?? embedded.listenUrl,
      entryPoints: settings.traefikEntryPoints,
      certResolver: settings.traefikCertResolver,
    }),
    entry,
    listHosts: () => listHosts(database),
    clock: systemClock,
  })
  let provider: TraefikProvider | null = null
  return {
    edge,
    embedded,
    start: async () => {
      const { traefikListen: listen } = settings
      const token = await openTraefikToken(settings.dataDirectory, isLoopback(listen))
      provider = new TraefikProvider({
        listen,
        ...token,
        document: () => edge.document(),
        clock: systemClock,
        ...keeping(settings.traefikFile, logger),
      })
      await embedded.start()
      await provider.start()
      edge.attach(provider)
    },
    stop: async () => {
      await provider?.stop()
      provider = null
      await embedded.detach()
    },
  }
}

/** Not secret, and Traefik may be another user. JSON is YAML. */
function keeping(path: string | null, logger: Logger): Pick<ConstructorParameters<typeof TraefikProvider>[0], 'keep'> {
  if (path === null) return {}
  let isTold = false
  return {
    keep: async (text) => {
      try {
        await writeFileAtomic(path, `${text}\n`, 0o644)
        isTold = false
      } catch (error) {
        if (!isTold) logger.warn('the copy for Traefik can not be written (SHIPLOCK_TRAEFIK_FILE)', { path, error })
        isTold = true
        throw error
      }
    },
  }
}
