import { timingSafeEqual } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Clock } from '../../core/clock.ts'
import { ShiplockError } from '../../core/errors.ts'
import type { DynamicDocument } from './dynamic-document.ts'

export const PROVIDER_PATH = '/traefik/dynamic.json'

export interface ProviderOptions {
  readonly listen: { readonly host: string; readonly port: number }
  /** Asked for as `Authorization: Bearer …`, or as the password of Basic, which a Traefik before 3 takes from the endpoint's address. */
  readonly token: string
  /** A Traefik that was set up before there was a token for loopback is answered without it until it first shows the token; null = nobody is. */
  readonly untilShown: { shown(): void } | null
  /** What Traefik shall know now. When it rejects, Traefik is told to keep what it has. */
  readonly document: () => Promise<{ readonly document: DynamicDocument; readonly hosts: ReadonlySet<string> }>
  /** Keeps what Traefik was told where it finds it without this server; called when it changed, never twice at once. */
  readonly keep?: (text: string) => Promise<void>
  readonly clock: Clock
}

/** Answers Traefik's HTTP provider, and remembers what it was told last. */
export class TraefikProvider {
  readonly #options: ProviderOptions
  readonly #server: Server
  readonly #waiting = new Set<() => void>()
  #told: ReadonlySet<string> = new Set()
  #polledAt: number | null = null
  #kept: string | null = null
  #keeping: Promise<void> = Promise.resolve()
  #isOpen: boolean

  constructor(options: ProviderOptions) {
    this.#options = options
    this.#isOpen = options.untilShown !== null
    this.#server = createServer({ headersTimeout: 5000, requestTimeout: 5000, keepAliveTimeout: 75_000 }, (request, response) => {
      void this.#answer(request, response).catch(() => response.destroy())
    })
  }

  /** Whether it answers without the token. */
  get isOpen(): boolean {
    return this.#isOpen
  }

  /** Monotonic ms of the last poll; null = none yet. */
  get polledAt(): number | null {
    return this.#polledAt
  }

  /** Hosts of the document that was given out last. */
  get told(): ReadonlySet<string> {
    return this.#told
  }

  get port(): number {
    const address = this.#server.address()
    return address === null || typeof address === 'string' ? this.#options.listen.port : address.port
  }

  async start(): Promise<void> {
    const { host, port } = this.#options.listen
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', (error: NodeJS.ErrnoException) =>
        reject(
          error.code === 'EADDRINUSE'
            ? new ShiplockError('PORT_IN_USE', `${host}:${port} is taken; Traefik's provider shall listen there`)
            : error,
        ),
      )
      this.#server.listen(port, host, resolve)
    })
  }

  async stop(): Promise<void> {
    for (const wake of this.#waiting) wake()
    await this.#keeping
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve())
      this.#server.closeAllConnections()
    })
  }

  /** Resolves with true once Traefik was given these hosts, with false when `withinMs` is over. */
  async untilTold(hosts: readonly string[], withinMs: number): Promise<boolean> {
    const deadline = this.#options.clock.monotonic() + withinMs
    const isTold = () => hosts.every((host) => this.#told.has(host))
    while (!isTold() && this.#options.clock.monotonic() < deadline) {
      const late = new AbortController()
      await new Promise<void>((resolve) => {
        this.#waiting.add(resolve)
        const left = deadline - this.#options.clock.monotonic()
        this.#options.clock.sleep(Math.max(0, left), late.signal).then(resolve, () => {})
        late.signal.addEventListener('abort', () => this.#waiting.delete(resolve))
      })
      late.abort()
    }
    return isTold()
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url?.split('?')[0]
    if (request.method !== 'GET' || path !== PROVIDER_PATH) return void response.writeHead(404).end()
    if (!this.#isAllowed(request.headers.authorization)) return void response.writeHead(401, { 'www-authenticate': 'Bearer' }).end()
    // An empty document would take every host away: Traefik keeps what it has when it is answered with an error.
    const current = await this.#options.document().catch(() => null)
    if (current === null) return void response.writeHead(503).end()
    const body = JSON.stringify(current.document)
    this.#keep(body)
    response.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-store' })
    response.end(body, () => {
      this.#told = current.hosts
      this.#polledAt = this.#options.clock.monotonic()
      for (const wake of this.#waiting) wake()
      this.#waiting.clear()
    })
  }

  #keep(body: string): void {
    const { keep } = this.#options
    if (keep === undefined || body === this.#kept) return
    this.#kept = body
    this.#keeping = this.#keeping
      .then(() => keep(body))
      .catch(() => {
        // The next answer tries again.
        if (this.#kept === body) this.#kept = null
      })
  }

  /** Whatever runs on this host can call loopback: apps as well. */
  #isAllowed(authorization: string | undefined): boolean {
    const given = Buffer.from(tokenIn(authorization ?? ''))
    const wanted = Buffer.from(this.#options.token)
    if (given.length !== wanted.length || !timingSafeEqual(given, wanted)) return this.#isOpen
    if (this.#isOpen) this.#options.untilShown?.shown()
    this.#isOpen = false
    return true
  }
}

function tokenIn(authorization: string): string {
  const [, scheme, value = ''] = /^(Bearer|Basic) +(\S{1,1000}) *$/i.exec(authorization) ?? []
  if (scheme?.toLowerCase() !== 'basic') return value
  const credentials = Buffer.from(value, 'base64').toString('latin1')
  return credentials.slice(credentials.indexOf(':') + 1)
}
