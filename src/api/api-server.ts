import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { getRequestListener } from '@hono/node-server'
import { ShiplockError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Service } from '../core/service.ts'
import type { Api } from './create-api.ts'
import { problemResponse } from './problem.ts'

export interface Listen {
  readonly host: string
  /** 0 = any free one. */
  readonly port: number
}

export interface ApiServer extends Service {
  /** Once started. */
  readonly address: { readonly host: string; readonly port: number; readonly url: string }
}

/** Listens for the API. `start` rejects with PORT_IN_USE; `stop` answers what has begun, and cuts streams: their readers come back. */
export function createApiServer(listen: Listen, api: Api): ApiServer {
  const listener = getRequestListener(api.fetch, { overrideGlobalObjects: false, errorHandler: (error) => problemResponse(error) })
  let server: Server | null = null
  let stopping: Promise<void> | null = null
  const answers = new Set<ServerResponse>()
  return {
    get address() {
      const bound = server?.address() as AddressInfo | null | undefined
      if (bound === null || bound === undefined) throw new Error('the API server does not listen')
      const host = bound.family === 'IPv6' ? `[${bound.address}]` : bound.address
      return { host: bound.address, port: bound.port, url: `http://${host}:${bound.port}` }
    },
    start: async () => {
      server = createServer({ requestTimeout: LIMITS.apiRequestMs, maxHeaderSize: LIMITS.requestHeaderBytes }, (incoming, outgoing) => {
        answers.add(outgoing)
        outgoing.on('close', () => answers.delete(outgoing))
        void listener(incoming, outgoing)
      })
      await bind(server, listen)
    },
    stop: () => {
      stopping ??= server === null ? Promise.resolve() : close(server, answers)
      return stopping
    },
  }
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

async function close(server: Server, answers: Iterable<ServerResponse>): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()))
  server.closeIdleConnections()
  for (const answer of answers) if (isStream(answer)) answer.destroy()
  const cut = setTimeout(() => server.closeAllConnections(), FINISH_MS)
  await closed
  clearTimeout(cut)
}

const isStream = (answer: ServerResponse) => String(answer.getHeader('content-type') ?? '').startsWith('text/event-stream')
