import { randomUUID } from 'node:crypto'
import type { Readable } from 'node:stream'
import { Problem } from '../contract/problem.ts'
import type { RouteResponse, RouteSpec } from '../contract/route.ts'
import { type OperationId, ROUTES } from '../contract/routes.ts'
import { ERRORS, type ErrorCode, ShiplockError } from '../core/errors.ts'
import { PLACE, readFrames, type StreamFrame } from './sse-frames.ts'

type Values = Readonly<Record<string, string | number | boolean | undefined>>

export interface CallOptions {
  readonly params?: Values
  readonly query?: Values
  readonly body?: unknown
  readonly signal?: AbortSignal
}

export interface StreamOptions {
  readonly params?: Values
  readonly query?: Values
  readonly signal: AbortSignal
  /** Told when the stream was lost and is taken up again. */
  readonly onReconnect?: (() => void) | undefined
}

const RECONNECT_FIRST_MS = 100
const RECONNECT_MAX_MS = 2000
/** A server that is gone this long is given up. */
const RECONNECT_GIVE_UP_MS = 60_000

/** The HTTP API, typed by the contract. Rejects with the server's own error, or SERVER_UNREACHABLE. */
export class Client {
  readonly url: string
  readonly #token: string | null

  constructor(url: string, token: string | null) {
    this.url = url
    this.#token = token
  }

  async call<Id extends OperationId>(operation: Id, options: CallOptions = {}): Promise<RouteResponse<(typeof ROUTES)[Id]>> {
    const spec: RouteSpec = ROUTES[operation]
    const response = await this.#fetch(spec, options, {
      method: spec.method.toUpperCase(),
      ...(options.body === undefined ? {} : { body: JSON.stringify(options.body) }),
      headers: {
        accept: 'application/json',
        ...(options.body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(spec.method === 'post' ? { 'idempotency-key': randomUUID() } : {}),
      },
    })
    if (spec.response === null) return null as RouteResponse<(typeof ROUTES)[Id]>
    return (await readAnswer(response)) as RouteResponse<(typeof ROUTES)[Id]>
  }

  async upload(stream: Readable, query: Values): Promise<RouteResponse<typeof ROUTES.createUpload>> {
    // An error while a file is read must be told as it is, not as a lost connection.
    let failure: Error | null = null
    stream.on('error', (error) => {
      failure = error
    })
    try {
      const response = await this.#fetch(ROUTES.createUpload, { query }, {
        method: 'POST',
        headers: { accept: 'application/json', 'content-type': 'application/gzip' },
        body: stream as unknown as ReadableStream,
        duplex: 'half',
      } as RequestInit)
      return (await readAnswer(response)) as RouteResponse<typeof ROUTES.createUpload>
    } catch (error) {
      throw failure ?? error
    }
  }

  /** The bytes of an answer that is an archive. */
  async download(operation: OperationId, options: CallOptions): Promise<ReadableStream<Uint8Array>> {
    const { body } = await this.#fetch(ROUTES[operation], options, { headers: { accept: 'application/gzip' } })
    if (body === null) throw new ShiplockError('SERVER_UNREACHABLE', 'the server answered without a body')
    return body as ReadableStream<Uint8Array>
  }

  /** Frames of a stream until its `end`, over lost connections and restarts of the server: each exactly once. */
  async *stream(operation: OperationId, options: StreamOptions): AsyncGenerator<StreamFrame> {
    let lastId: string | null = null
    let lostAt: number | null = null
    let pauseMs = RECONNECT_FIRST_MS
    while (!options.signal.aborted) {
      try {
        const headers = { accept: 'text/event-stream', ...(lastId === null ? {} : { 'last-event-id': lastId }) }
        const response = await this.#fetch(ROUTES[operation], options, { headers })
        for await (const frame of readFrames(response)) {
          lostAt = null
          pauseMs = RECONNECT_FIRST_MS
          if (frame.id !== null) lastId = frame.id
          if (frame.event === PLACE) continue
          yield frame
          if (frame.event === 'end') return
        }
      } catch (error) {
        if (options.signal.aborted) return
        lostAt ??= Date.now()
        if (!isPassing(error) || Date.now() - lostAt > RECONNECT_GIVE_UP_MS) throw error
        options.onReconnect?.()
      }
      await pause(pauseMs, options.signal)
      pauseMs = Math.min(pauseMs * 2, RECONNECT_MAX_MS)
    }
  }

  async #fetch(spec: RouteSpec, { params = {}, query = {}, signal }: CallOptions, init: RequestInit): Promise<Response> {
    const path = spec.path.replaceAll(/\{(\w+)\}/g, (_, key: string) => encodeURIComponent(String(params[key])))
    const given = Object.entries(query).flatMap(([key, value]): [string, string][] => (value === undefined ? [] : [[key, String(value)]]))
    const search = new URLSearchParams(given).toString()
    let response: Response
    try {
      response = await fetch(`${this.url}${path}${search === '' ? '' : `?${search}`}`, {
        ...init,
        headers: { ...init.headers, ...(this.#token === null ? {} : { authorization: `Bearer ${this.#token}` }) },
        ...(signal === undefined ? {} : { signal }),
      })
    } catch (error) {
      if (signal?.aborted === true) throw error
      throw unreachable(this.url, error)
    }
    if (response.ok) return response
    throw await refusal(response)
  }
}

/** What a restart of the server or its database looks like from outside. */
function isPassing(error: unknown): boolean {
  return !(error instanceof ShiplockError) || error.info.actor === 'retry'
}

function unreachable(url: string, error: unknown): ShiplockError {
  const cause = (error as { cause?: { code?: string; message?: string } }).cause
  return new ShiplockError('SERVER_UNREACHABLE', `no server answers at ${url} (${cause?.code ?? cause?.message ?? 'no connection'})`, {
    hint: '`shiplock server start` starts one here, `shiplock up` does so by itself; SHIPLOCK_URL names one elsewhere.',
    cause: error,
  })
}

async function readAnswer(response: Response): Promise<unknown> {
  const text = await response.text().catch((error: unknown) => {
    throw unreachable(new URL(response.url).origin, error)
  })
  try {
    return JSON.parse(text)
  } catch {
    throw stranger(response)
  }
}

function stranger(response: Response): ShiplockError {
  const { origin } = new URL(response.url)
  return new ShiplockError('SERVER_UNREACHABLE', `${origin} answered ${response.status}, but not as a Shiplock server does`, {
    hint: 'Another program may listen there, or a proxy stands in between; SHIPLOCK_URL says which address is asked.',
  })
}

async function refusal(response: Response): Promise<ShiplockError> {
  const text = await response.text().catch(() => '')
  let problem: Problem | null = null
  try {
    problem = Problem.parse(JSON.parse(text))
  } catch {
    // Not from Shiplock: a proxy in between, or another program on this port.
  }
  if (problem === null || !(problem.code in ERRORS)) return stranger(response)
  return new ShiplockError(problem.code as ErrorCode, problem.detail, { details: problem.details, hint: problem.hint })
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal.addEventListener('abort', done, { once: true })
  })
}
