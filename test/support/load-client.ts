import { randomBytes } from 'node:crypto'
import { type ClientRequest, request as httpRequest } from 'node:http'
import { WebSocket } from 'ws'
import { PlainClient } from './edge-client.ts'

export type ClientKind = 'get' | 'post' | 'slow' | 'sse' | 'websocket'

export interface LoadFailure {
  readonly kind: ClientKind
  readonly what: string
  /** `performance.now()` when the request was begun and when it failed. */
  readonly from: number
  readonly at: number
}

export interface LoadOptions {
  readonly port: number
  readonly host: string
  /** Clients of each kind; default: two of get and post, one of the others. */
  readonly clients?: Partial<Readonly<Record<ClientKind, number>>>
  /** Pause of a client between two requests, ms: constant load, not the most that is possible. */
  readonly pauseMs?: number
}

const DEFAULT_CLIENTS: Readonly<Record<ClientKind, number>> = { get: 2, post: 2, slow: 1, sse: 1, websocket: 1 }
const AFTER_FAILURE_MS = 20
const SLOW_MS = 250

/**
 * Constant load of every kind of client on one host of the edge, on connections that are kept and never retried: whatever is lost shows.
 * Connections may end only as announced: `Connection: close` on an answer, 1012 on a websocket, an event boundary on a stream.
 */
export class LoadClient {
  readonly failures: LoadFailure[] = []
  /** When each version was first and last seen, by the start of the request. */
  readonly versions = new Map<string, { first: number; last: number; answers: number }>()
  /** A version in here must not answer a request that begins from now on. */
  readonly forbidden = new Set<string>()
  readonly #options: Required<LoadOptions>
  readonly #plain: PlainClient[] = []
  readonly #loops: Promise<void>[]
  readonly #stopped = new AbortController()
  requests = 0
  longestMs = 0
  /** Streams and websockets that ended as announced. */
  announcedEnds = 0

  constructor(options: LoadOptions) {
    this.#options = { pauseMs: 10, ...options, clients: { ...DEFAULT_CLIENTS, ...options.clients } }
    this.#loops = Object.entries(this.#options.clients).flatMap(([kind, count]) =>
      Array.from({ length: count ?? 0 }, () => this.#run(kind as ClientKind)),
    )
  }

  get connectionsClosed(): { readonly announced: number; readonly unannounced: number } {
    const total = (of: (client: PlainClient) => number) => this.#plain.reduce((sum, client) => sum + of(client), 0)
    return { announced: total((client) => client.announcedCloses), unannounced: total((client) => client.unannouncedCloses) }
  }

  /** Resolves when `count` more answers have come, of any version. */
  async answers(count: number, withinMs = 20_000): Promise<void> {
    const wanted = this.requests + count
    await this.#until(() => this.requests >= wanted, `${count} more answers`, withinMs)
  }

  /** Resolves when the version has answered a request. */
  async sees(version: string, withinMs = 20_000): Promise<void> {
    await this.#until(() => this.versions.has(version), `an answer of ${version}`, withinMs)
  }

  /** Ends all clients after their present request. */
  async stop(): Promise<this> {
    this.#stopped.abort()
    await Promise.all(this.#loops)
    for (const client of this.#plain) client.close()
    return this
  }

  async #until(condition: () => boolean, what: string, withinMs: number): Promise<void> {
    const deadline = performance.now() + withinMs
    while (!condition()) {
      if (performance.now() > deadline)
        throw new Error(`waited ${withinMs} ms for ${what}; failures: ${JSON.stringify(this.failures.slice(-3))}`)
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  }

  async #run(kind: ClientKind): Promise<void> {
    const { signal } = this.#stopped
    const client = new PlainClient(this.#options.port, this.#options.host)
    this.#plain.push(client)
    while (!signal.aborted) {
      const from = performance.now()
      const forbidden = new Set(this.forbidden)
      const see = (version: string) => this.#see(version, from, forbidden)
      try {
        if (kind === 'sse') await this.#readEvents(see)
        else if (kind === 'websocket') await this.#talk()
        else await this.#exchange(client, kind, see)
        await sleep(this.#options.pauseMs)
      } catch (error) {
        this.failures.push({ kind, what: (error as Error).message || String(error), from, at: performance.now() })
        client.close()
        await sleep(AFTER_FAILURE_MS)
      }
    }
  }

  #see(version: string, from: number, forbidden: ReadonlySet<string>): void {
    if (forbidden.has(version)) throw new Error(`${version} answered a request that began after it was swapped out`)
    const seen = this.versions.get(version)
    if (seen === undefined) this.versions.set(version, { first: from, last: from, answers: 1 })
    else this.versions.set(version, { first: Math.min(seen.first, from), last: Math.max(seen.last, from), answers: seen.answers + 1 })
    this.requests += 1
    this.longestMs = Math.max(this.longestMs, performance.now() - from)
  }

  async #exchange(client: PlainClient, kind: 'get' | 'post' | 'slow', see: (version: string) => void): Promise<void> {
    const body = kind === 'post' ? randomBytes(2048) : undefined
    const path = kind === 'slow' ? `/slow?ms=${SLOW_MS}` : '/'
    const answer = await client.request(kind === 'post' ? 'POST' : 'GET', path, body)
    const version = answer.headers.get('x-version') ?? ''
    const problem = `${answer.status} ${answer.headers.get('x-shiplock-error') ?? ''} ${answer.body.toString().slice(0, 200)}`
    if (answer.status !== 200 || version === '') throw new Error(problem)
    const expected = body ?? Buffer.from(version)
    if (!expected.equals(answer.body)) throw new Error(`the body differs: ${expected.length} bytes sent, ${answer.body.length} came`)
    see(version)
  }

  /** One stream until it ends; events must be whole, numbered without a gap, of one version. */
  #readEvents(see: (version: string) => void): Promise<void> {
    const { port, host } = this.#options
    const { signal } = this.#stopped
    return new Promise((resolve, reject) => {
      const request: ClientRequest = httpRequest({ port, host: '127.0.0.1', path: '/events', headers: { host }, agent: false })
      const giveUp = () => request.destroy()
      signal.addEventListener('abort', giveUp, { once: true })
      const end = (error: Error | null) => {
        signal.removeEventListener('abort', giveUp)
        if (error === null || signal.aborted) resolve()
        else reject(error)
      }
      request.on('error', end)
      request.on('response', (response) => {
        const version = String(response.headers['x-version'] ?? '')
        if (response.statusCode !== 200) {
          response.destroy()
          return end(new Error(`stream: ${response.statusCode} ${response.headers['x-shiplock-error'] ?? ''}`))
        }
        let rest = ''
        let next = 0
        response.setEncoding('utf8')
        response.on('data', (chunk: string) => {
          const parts = (rest + chunk).split('\n\n')
          rest = parts.pop() ?? ''
          for (const part of parts) {
            if (part !== `id: ${next}\ndata: ${version} ${next}`) end(new Error(`stream: event ${next} is ${JSON.stringify(part)}`))
            if (next === 0) tryTo(() => see(version), end)
            next += 1
          }
        })
        response.on('error', () => end(new Error('stream: cut')))
        response.on('close', () => {
          if (!signal.aborted) this.announcedEnds += 1
          end(rest === '' ? null : new Error(`stream: ended within an event: ${JSON.stringify(rest)}`))
        })
      })
      request.end()
    })
  }

  /** One websocket until the edge ends it with 1012; every message comes back once, in order, from one version. */
  #talk(): Promise<void> {
    const { port, host, pauseMs } = this.#options
    const { signal } = this.#stopped
    return new Promise((resolve, reject) => {
      const socket = new WebSocket(`ws://127.0.0.1:${port}/socket`, { headers: { host }, perMessageDeflate: false })
      const giveUp = () => socket.close(1000)
      signal.addEventListener('abort', giveUp, { once: true })
      let next = 0
      let version: string | null = null
      const end = (error: Error | null) => {
        signal.removeEventListener('abort', giveUp)
        if (error === null || signal.aborted) resolve()
        else reject(error)
      }
      const send = () => {
        if (socket.readyState === WebSocket.OPEN) socket.send(String(next))
      }
      socket.on('open', send)
      socket.on('unexpected-response', (_request, response) => {
        response.resume()
        end(new Error(`websocket: ${response.statusCode} ${response.headers['x-shiplock-error'] ?? ''}`))
      })
      socket.on('message', (data) => {
        const [from = '', number = ''] = String(data).split(' ')
        version ??= from
        if (from !== version || number !== String(next)) end(new Error(`websocket: message ${next} of ${version} came back as ${data}`))
        next += 1
        this.requests += 1
        setTimeout(send, pauseMs)
      })
      socket.on('error', (error) => end(new Error(`websocket: ${error.message}`)))
      socket.on('close', (code) => {
        if (code === 1012) this.announcedEnds += 1
        end(code === 1012 || signal.aborted ? null : new Error(`websocket: closed with ${code}`))
      })
    })
  }
}

function tryTo(action: () => void, failed: (error: Error) => void): void {
  try {
    action()
  } catch (error) {
    failed(error as Error)
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
