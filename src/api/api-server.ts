import { rm } from 'node:fs/promises'
import { createServer, type Server, type ServerResponse } from 'node:http'
import { BlockList } from 'node:net'
import { join } from 'node:path'
import { getRequestListener } from '@hono/node-server'
import { DATA_FILES } from '../contract/data-files.ts'
import { writeFileAtomic } from '../core/atomic-file.ts'
import { ShiplockError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Service } from '../core/service.ts'
import { parseProxies } from './client-address.ts'
import { Connections } from './connections.ts'
import type { Api } from './create-api.ts'
import { problemResponse } from './problem.ts'

export interface Listen {
  readonly host: string
  /** 0 = any free one. */
  readonly port: number
}

export interface ApiServerOptions {
  /** Data directory in which the address is left for clients on this machine. */
  readonly announceIn?: string
  /** Proxies, which may have as many connections as there are people behind them. */
  readonly trustedProxies?: readonly string[]
}

export interface ApiServer extends Service {
  /** Once started. */
  readonly address: { readonly host: string; readonly port: number; readonly url: string }
}

/** Connections stay as long as proxies keep theirs, so that none sends a request on one that was just closed. */
const CONNECTIONS = {
  headersTimeout: LIMITS.apiHeadersMs,
  requestTimeout: LIMITS.apiRequestMs,
  connectionsCheckingInterval: LIMITS.apiConnectionLookMs,
  maxHeaderSize: LIMITS.requestHeaderBytes,
  keepAliveTimeout: LIMITS.clientKeepAliveMs,
}

/** Listens for the API. `start` rejects with PORT_IN_USE; `stop` answers what has begun, and cuts streams: their readers come back. */
export function createApiServer(listen: Listen, api: Api, { announceIn, trustedProxies = [] }: ApiServerOptions = {}): ApiServer {
  const listener = getRequestListener(api.fetch, { overrideGlobalObjects: false, errorHandler: (error) => problemResponse(error) })
  let server: Server | null = null
  let stopping: Promise<void> | null = null
  const answers = new Set<ServerResponse>()
  const connections = new Connections(parseProxies(trustedProxies) ?? new BlockList())
  return {
    get address() {
      return addressOf(server)
    },
    start: async () => {
      server = createServer(CONNECTIONS, (incoming, outgoing) => {
        answers.add(outgoing)
        outgoing.on('close', () => answers.delete(outgoing))
        void listener(incoming, outgoing)
      })
      server.on('connection', (socket) => connections.add(socket))
      await bind(server, listen)
      if (announceIn !== undefined) await writeFileAtomic(join(announceIn, DATA_FILES.apiUrl), `${addressOf(server).url}\n`, 0o644)
    },
    stop: () => {
      stopping ??= server === null ? Promise.resolve() : close(server, answers, announceIn)
      return stopping
    },
  }
}

function addressOf(server: Server | null): ApiServer['address'] {
  const bound = server?.address()
  if (typeof bound !== 'object' || bound === null) throw new Error('the API server does not listen')
  const host =
    bound.address === '::'
      ? '[::1]'
      : bound.address === '0.0.0.0'
        ? '127.0.0.1'
        : bound.family === 'IPv6'
          ? `[${bound.address}]`
          : bound.address
  return { host: bound.address, port: bound.port, url: `http://${host}:${bound.port}` }
}

function bind(server: Server, { host, port }: Listen): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      reject(
        error.code === 'EADDRINUSE'
          ? new ShiplockError('PORT_IN_USE', `the API can't listen on ${host}:${port}: something else does`, {
              details: { host, port },
              cause: error,
            })
          : error,
      )
    })
    server.listen({ host, port }, resolve)
  })
}

const FINISH_MS = 3000

async function close(server: Server, answers: Iterable<ServerResponse>, announcedIn: string | undefined): Promise<void> {
  if (announcedIn !== undefined) await rm(join(announcedIn, DATA_FILES.apiUrl), { force: true })
  const closed = new Promise<void>((resolve) => server.close(() => resolve()))
  server.closeIdleConnections()
  for (const answer of answers) if (isStream(answer)) answer.destroy()
  const cut = setTimeout(() => server.closeAllConnections(), FINISH_MS)
  await closed
  clearTimeout(cut)
}

const isStream = (answer: ServerResponse) => String(answer.getHeader('content-type') ?? '').startsWith('text/event-stream')
