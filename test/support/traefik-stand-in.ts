import { createHash } from 'node:crypto'
import { Agent, createServer, request as httpRequest, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

interface Router {
  readonly rule: string
  readonly service: string
  readonly entryPoints?: readonly string[]
  readonly tls?: unknown
}
interface Configuration {
  readonly http?: {
    readonly routers?: Readonly<Record<string, Router>>
    readonly services?: Readonly<Record<string, { readonly loadBalancer: { readonly servers: readonly { readonly url: string }[] } }>>
    readonly serversTransports?: Readonly<Record<string, unknown>>
  }
}

export interface TraefikStandInOptions {
  readonly endpoint: string
  readonly pollMs?: number
  readonly headers?: Readonly<Record<string, string>>
  /** What it says about the client's scheme; routers with TLS answer to `https` only. */
  readonly scheme?: 'http' | 'https'
}

/**
 * Does what Traefik does with an HTTP provider (pkg/provider/http and pkg/config/dynamic of v3): asks every `pollMs`, keeps what it has when
 * that fails or is invalid, applies a document only when its bytes changed, routes by host with the longest rule first, sends the Host
 * header on, sets X-Forwarded-*, keeps upstream connections. Traefik itself can't be installed where these tests run.
 */
export class TraefikStandIn {
  readonly #options: TraefikStandInOptions
  readonly #server: Server
  readonly #agent = new Agent({ keepAlive: true, timeout: 30_000 })
  #timer: NodeJS.Timeout | null = null
  #polling: Promise<void> = Promise.resolve()
  #digest = ''
  #configuration: Configuration = {}
  /** How often a changed document was applied. */
  applied = 0
  polls = 0
  /** Why the last document was not taken. */
  refusal: string | null = null

  constructor(options: TraefikStandInOptions) {
    this.#options = options
    this.#server = createServer((request, response) => this.#forward(request, response))
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  get hosts(): readonly string[] {
    return Object.values(this.#configuration.http?.routers ?? {}).map((router) => hostOf(router.rule) ?? '?')
  }

  async start(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    this.resume()
  }

  /** Resolves when no poll is under way any more. */
  async pause(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer)
    this.#timer = null
    await this.#polling
  }

  resume(): void {
    this.#timer ??= setInterval(() => {
      this.#polling = this.#polling.then(() => this.#poll())
    }, this.#options.pollMs ?? 50)
  }

  async stop(): Promise<void> {
    await this.pause()
    this.#agent.destroy()
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  async #poll(): Promise<void> {
    try {
      const response = await fetch(this.#options.endpoint, { headers: { ...this.#options.headers }, signal: AbortSignal.timeout(5000) })
      const text = await response.text()
      if (response.status !== 200) throw new Error(`received non-ok response code: ${response.status}`)
      this.polls += 1
      const digest = createHash('sha256').update(text).digest('hex')
      if (digest === this.#digest) return
      const configuration = JSON.parse(text) as Configuration
      assertValid(configuration)
      this.#digest = digest
      this.#configuration = configuration
      this.applied += 1
      this.refusal = null
    } catch (error) {
      this.refusal = (error as Error).message
    }
  }

  #forward(request: IncomingMessage, response: ServerResponse): void {
    const upstream = this.#upstreamOf((request.headers.host ?? '').replace(/:\d+$/, '').toLowerCase())
    if (upstream === null) return void response.writeHead(404).end('404 page not found\n')
    const scheme = this.#options.scheme ?? 'http'
    const headers = {
      ...request.headers,
      'x-forwarded-for': request.socket.remoteAddress,
      'x-forwarded-proto': scheme,
      'x-forwarded-port': scheme === 'https' ? '443' : String(this.port),
      'x-forwarded-host': request.headers.host,
    }
    const sent = httpRequest({
      host: upstream.hostname,
      port: upstream.port,
      method: request.method,
      path: request.url,
      headers,
      agent: this.#agent,
    })
    sent.on('response', (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers)
      answer.pipe(response)
    })
    sent.on('error', () => (response.headersSent ? response.destroy() : response.writeHead(502).end('Bad Gateway')))
    request.pipe(sent)
  }

  #upstreamOf(host: string): URL | null {
    const isTls = this.#options.scheme === 'https'
    const routers = Object.values(this.#configuration.http?.routers ?? {})
      .filter((router) => (router.tls !== undefined) === isTls && hostOf(router.rule) === host)
      .sort((a, b) => b.rule.length - a.rule.length)
    const service = this.#configuration.http?.services?.[routers[0]?.service ?? '']
    const url = service?.loadBalancer.servers[0]?.url
    return url === undefined ? null : new URL(url)
  }
}

/** Of the matchers only Host: Shiplock writes no other. */
function hostOf(rule: string): string | null {
  return /^Host\(`([^`]+)`\)$/.exec(rule)?.[1]?.toLowerCase() ?? null
}

/** Traefik's parser refuses sections without content, its runtime routers without a service. */
function assertValid(configuration: Configuration): void {
  if (configuration.http === undefined) return
  for (const section of ['routers', 'services', 'serversTransports'] as const) {
    const found = configuration.http[section]
    if (found !== undefined && Object.keys(found).length === 0) throw new Error(`${section} cannot be a standalone element`)
  }
  for (const [name, router] of Object.entries(configuration.http.routers ?? {})) {
    if (name.includes('@')) throw new Error(`invalid router name ${name}`)
    if (hostOf(router.rule) === null) throw new Error(`error while parsing rule ${router.rule}`)
    if (configuration.http.services?.[router.service] === undefined) throw new Error(`the service "${router.service}@http" does not exist`)
  }
}
