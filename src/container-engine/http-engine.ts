import { Agent, type Dispatcher } from 'undici'
import { type Clock, systemClock } from '../core/clock.ts'
import { isShiplockError, ShiplockError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { printable } from '../core/printable.ts'
import {
  type ContainerEngine,
  type EngineMethod,
  EngineRefusal,
  type EngineRequest,
  type EngineStream,
  type EngineVersion,
} from './engine.ts'
import type { EngineAddress } from './engine-address.ts'

/** The newest API that this code was written against; 1.25 (Docker 1.13) has all that it needs. */
const API_MAX = '1.47'
const API_MIN = '1.25'
const FIRST_PAUSE_MS = 50
const ERROR_BYTES = 8192

export interface HttpEngineOptions {
  readonly address: EngineAddress
  readonly clock?: Clock
  /** How long calls are repeated while nobody answers. Default `LIMITS.engineRetryMs`. */
  readonly retryMs?: number
}

interface VersionAnswer {
  readonly Version?: string
  readonly ApiVersion?: string
  readonly MinAPIVersion?: string
  readonly Os?: string
  readonly Arch?: string
  readonly Components?: readonly { readonly Name?: string; readonly Version?: string }[]
}

export function createContainerEngine(options: HttpEngineOptions): ContainerEngine {
  return new HttpEngine(options)
}

class HttpEngine implements ContainerEngine {
  readonly address: string
  readonly isLocal: boolean
  isReachable = false
  readonly #origin: string
  readonly #agent: Agent
  readonly #clock: Clock
  readonly #retryMs: number
  #version: Promise<EngineVersion> | null = null

  constructor({ address, clock, retryMs }: HttpEngineOptions) {
    this.address = address.text
    this.isLocal = address.kind === 'unix'
    this.#origin = address.kind === 'unix' ? 'http://engine' : address.origin
    // A connection per call in flight: logs and waits hold theirs for hours.
    this.#agent = new Agent({
      connect: { timeout: LIMITS.engineConnectMs, ...(address.kind === 'unix' ? { socketPath: address.path } : {}) },
      connections: null,
      pipelining: 1,
      headersTimeout: 0,
      bodyTimeout: 0,
    })
    this.#clock = clock ?? systemClock
    this.#retryMs = retryMs ?? LIMITS.engineRetryMs
  }

  version(signal?: AbortSignal): Promise<EngineVersion> {
    return this.#repeated(signal === undefined ? {} : { signal }, () => this.#known(signal))
  }

  async json<Answer>(method: EngineMethod, path: string, request: EngineRequest = {}): Promise<Answer> {
    return this.#repeated(request, async () => {
      const bound = bounded(request)
      const response = await this.#versioned(method, path, request, bound.signal)
      try {
        return parseJson(await wholeBody(response.body, LIMITS.engineBodyBytes)) as Answer
      } finally {
        bound.release()
      }
    })
  }

  async stream(method: EngineMethod, path: string, request: EngineRequest = {}): Promise<EngineStream> {
    return this.#repeated(request, async () => {
      const bound = bounded(request)
      const response = await this.#versioned(method, path, request, bound.signal)
      // From here on only the caller's signal ends it.
      bound.release()
      return { status: response.statusCode, headers: response.headers, body: guarded(response.body, this.address) }
    })
  }

  async close(): Promise<void> {
    await this.#agent.destroy()
  }

  async #versioned(method: EngineMethod, path: string, request: EngineRequest, signal: AbortSignal): Promise<Dispatcher.ResponseData> {
    const { api } = await this.#known(signal)
    return this.#ask(method, `/v${api}${path}`, request, signal)
  }

  async #ask(method: EngineMethod, path: string, request: EngineRequest, signal: AbortSignal): Promise<Dispatcher.ResponseData> {
    const query = new URLSearchParams()
    for (const [name, value] of Object.entries(request.query ?? {})) if (value !== undefined) query.set(name, String(value))
    const { body, headers } = encoded(request)
    const response = await this.#agent.request({
      origin: this.#origin,
      method,
      path: query.size === 0 ? path : `${path}?${query}`,
      headers,
      body,
      signal,
    })
    this.isReachable = true
    if (response.statusCode < 400) return response
    throw new EngineRefusal(response.statusCode, await refusalText(response))
  }

  /** One question for all who wait for its answer, so nobody's signal ends it for the others. */
  #known(signal?: AbortSignal): Promise<EngineVersion> {
    this.#version ??= this.#negotiate().catch((error: unknown) => {
      this.#version = null
      throw error
    })
    return signal === undefined ? this.#version : orAborted(this.#version, signal)
  }

  async #negotiate(): Promise<EngineVersion> {
    const response = await this.#ask('GET', '/version', {}, AbortSignal.timeout(LIMITS.engineConnectMs))
    const answer = parseJson(await wholeBody(response.body, LIMITS.engineBodyBytes)) as VersionAnswer
    const theirs = answer.ApiVersion ?? API_MIN
    const oldest = answer.MinAPIVersion ?? API_MIN
    if (compare(theirs, API_MIN) < 0 || compare(oldest, API_MAX) > 0) {
      throw new ShiplockError(
        'ENGINE_UNREACHABLE',
        `${this.address} speaks API ${oldest} to ${theirs}; ${API_MIN} to ${API_MAX} is needed`,
        {
          hint: 'Use a container engine of another version.',
        },
      )
    }
    const component = answer.Components?.[0]
    return {
      name: printable(`${component?.Name ?? 'engine'} ${component?.Version ?? answer.Version ?? ''}`).trim(),
      api: compare(theirs, API_MAX) < 0 ? theirs : API_MAX,
      os: answer.Os ?? 'linux',
      arch: answer.Arch ?? '',
    }
  }

  /** Repeats while the engine can't be reached; what it refused is not asked again. */
  async #repeated<Result>(request: EngineRequest, attempt: () => Promise<Result>): Promise<Result> {
    const deadline = this.#clock.monotonic() + this.#retryMs
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, 1000)) {
      try {
        return await attempt()
      } catch (error) {
        request.signal?.throwIfAborted()
        if (error instanceof EngineRefusal || isShiplockError(error, 'ENGINE_UNREACHABLE')) throw error
        // It may come back as another version.
        this.#version = null
        this.isReachable = false
        const isLate = this.#clock.monotonic() + pauseMs > deadline || (error as Error).name === 'TimeoutError'
        if (request.isRepeatable === false || isLate) throw unreachable(this.address, error)
        await this.#clock.sleep(pauseMs, request.signal)
      }
    }
  }
}

function orAborted<Value>(promise: Promise<Value>, signal: AbortSignal): Promise<Value> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    if (signal.aborted) onAbort()
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}

/** The caller's signal and the bound in time as one; `release` lifts the bound. */
function bounded(request: EngineRequest): { readonly signal: AbortSignal; release(): void } {
  const late = new AbortController()
  const timeoutMs = request.timeoutMs === undefined ? LIMITS.engineCallMs : request.timeoutMs
  const timer =
    timeoutMs === null ? null : setTimeout(() => late.abort(new DOMException(`no answer in ${timeoutMs} ms`, 'TimeoutError')), timeoutMs)
  return {
    signal: request.signal === undefined ? late.signal : AbortSignal.any([request.signal, late.signal]),
    release: () => {
      if (timer !== null) clearTimeout(timer)
    },
  }
}

type RequestBody = NonNullable<Dispatcher.DispatchOptions['body']> | null

function encoded({ body, headers }: EngineRequest): { body: RequestBody; headers: Record<string, string> } {
  if (body === undefined) return { body: null, headers: { ...headers } }
  const isRaw = body instanceof Uint8Array || typeof (body as AsyncIterable<unknown>)[Symbol.asyncIterator] === 'function'
  if (isRaw) return { body: body as RequestBody, headers: { 'content-type': 'application/x-tar', ...headers } }
  return { body: JSON.stringify(body), headers: { 'content-type': 'application/json', ...headers } }
}

async function wholeBody(body: AsyncIterable<Buffer>, bytesMax: number): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of body) {
    bytes += chunk.length
    if (bytes > bytesMax) throw new EngineRefusal(502, `the engine's answer is larger than ${bytesMax} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function parseJson(text: string): unknown {
  if (text.trim() === '') return undefined
  try {
    return JSON.parse(text)
  } catch {
    throw new EngineRefusal(502, 'the engine gave an answer that is no JSON')
  }
}

async function refusalText(response: Dispatcher.ResponseData): Promise<string> {
  const text = await wholeBody(response.body, ERROR_BYTES).catch(() => '')
  try {
    const { message, cause } = JSON.parse(text) as { message?: unknown; cause?: unknown }
    if (typeof message === 'string') return printable(message).trim()
    if (typeof cause === 'string') return printable(cause).trim()
  } catch {}
  return printable(text).trim() || `HTTP ${response.statusCode}`
}

/** A body whose breaking off is told as what it is. */
async function* guarded(body: AsyncIterable<Buffer>, address: string): AsyncGenerator<Buffer> {
  try {
    yield* body
  } catch (error) {
    if ((error as Error).name === 'AbortError') throw error
    throw unreachable(address, error)
  }
}

function unreachable(address: string, error: unknown): ShiplockError {
  const { message, code, cause } = error as Error & { code?: unknown; cause?: { code?: unknown } }
  const reason = [cause?.code, code, message].find((entry) => typeof entry === 'string') ?? 'no answer'
  return new ShiplockError('ENGINE_UNREACHABLE', `the container engine at ${address} does not answer: ${printable(String(reason))}`, {
    cause: error,
  })
}

function compare(a: string, b: string): number {
  const [major = 0, minor = 0] = a.split('.').map(Number)
  const [otherMajor = 0, otherMinor = 0] = b.split('.').map(Number)
  return major - otherMajor || minor - otherMinor
}
