import { openApiDocument } from '../../contract/openapi.ts'
import { listQueue } from '../../store/sql/queue-view.ts'
import { listServers } from '../../store/sql/servers.ts'
import { type Handlers, STREAMED } from '../route-context.ts'

export const serverHandlers: Handlers<'getHealth' | 'getServer' | 'getOpenApi'> = {
  getHealth: async (_request, { dependencies, health }) => {
    await health.assertWell()
    return { status: dependencies.isDegraded() ? 'degraded' : 'ok', version: dependencies.version }
  },

  getServer: async (_request, { dependencies, startedAt, access }) => {
    const { database, version, slots, defaults } = dependencies
    // Checks name directories and addresses of the server: not for the tokens of a project (I10).
    const isWhole = access.visible.project === null
    const [queue, checks, servers] = await Promise.all([
      listQueue(database, slots, access.visible),
      isWhole ? dependencies.checks() : [],
      isWhole ? listServers(database) : [],
    ])
    const pending = queue.filter((entry) => entry.status === 'pending').length
    return {
      version,
      startedAt,
      slots,
      artifacts: [...dependencies.artifactKinds()],
      defaults: { ...defaults },
      queue: { pending, inProgress: queue.length - pending },
      checks: [...checks],
      servers: servers.map((server) => ({ ...server, isThis: server.id === dependencies.serverId })),
    }
  },

  getOpenApi: async (_request, { dependencies, outgoing }) => {
    // Made once: anybody may ask for it.
    document ??= Buffer.from(`${JSON.stringify(openApiDocument(dependencies.version))}\n`)
    outgoing.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-store' }).end(document)
    return STREAMED
  },
}

let document: Buffer | null = null
