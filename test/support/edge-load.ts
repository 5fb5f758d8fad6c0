import { randomBytes } from 'node:crypto'
import { PlainClient } from './edge-client.ts'

export interface LoadReport {
  readonly requests: number
  /** What went wrong, one line each; empty when nothing was lost. */
  readonly errors: readonly string[]
  readonly unannouncedCloses: number
  readonly announcedCloses: number
  readonly connections: number
  readonly versions: ReadonlySet<string>
}

/**
 * Constant load: `clients` keep-alive clients without retry, every second request a POST whose body must come back unchanged.
 * A version in `forbidden` at the moment when a request starts must not answer it.
 */
export class EdgeLoad {
  readonly #clients: PlainClient[]
  readonly #errors: string[] = []
  readonly #versions = new Set<string>()
  readonly #loops: Promise<void>[]
  readonly forbidden = new Set<string>()
  #isStopping = false
  requests = 0

  constructor(port: number, host: string, clients = 32) {
    this.#clients = Array.from({ length: clients }, () => new PlainClient(port, host))
    this.#loops = this.#clients.map((client, index) => this.#run(client, index))
  }

  async stop(): Promise<LoadReport> {
    this.#isStopping = true
    await Promise.all(this.#loops)
    const total = (of: (client: PlainClient) => number) => this.#clients.reduce((sum, client) => sum + of(client), 0)
    const report: LoadReport = {
      requests: this.requests,
      errors: this.#errors,
      unannouncedCloses: total((client) => client.unannouncedCloses),
      announcedCloses: total((client) => client.announcedCloses),
      connections: total((client) => client.connections),
      versions: this.#versions,
    }
    for (const client of this.#clients) client.close()
    return report
  }

  async #run(client: PlainClient, index: number): Promise<void> {
    for (let count = index; !this.#isStopping; count++) {
      const forbidden = new Set(this.forbidden)
      try {
        await this.#one(client, count, forbidden)
      } catch (error) {
        this.#errors.push(String(error))
        client.close()
      }
    }
  }

  async #one(client: PlainClient, count: number, forbidden: ReadonlySet<string>): Promise<void> {
    const isPost = count % 2 === 0
    const body = isPost ? randomBytes(512) : undefined
    const path = count % 7 === 0 ? `/slow?ms=${count % 20}` : '/'
    const answer = await client.request(isPost ? 'POST' : 'GET', path, body)
    this.requests += 1
    const version = answer.headers.get('x-version') ?? ''
    if (answer.status !== 200) this.#errors.push(`${answer.status} ${answer.headers.get('x-shiplock-error')} ${answer.body}`)
    else if (forbidden.has(version)) this.#errors.push(`${version} answered after it was swapped out`)
    else if (body !== undefined && path === '/' && !body.equals(answer.body)) this.#errors.push('the echo differs')
    this.#versions.add(version)
  }
}
