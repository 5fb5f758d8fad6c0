import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'

/** What an app told about itself; see `apps/story-app.mjs`. */
export interface Report {
  readonly kind:
    | 'started'
    | 'stopped'
    | 'asked-before-ready'
    | 'asked-after-term'
    | 'release-command'
    | 'build'
    | 'migrated'
    | 'migration-begun'
    | 'migration-done'
  readonly version: string
  readonly instance: string | undefined
  readonly deployment: string | undefined
  readonly at: number
}

/** Listens for what the apps of a test tell, outside of everything that is killed. */
export class Collector {
  readonly reports: Report[] = []
  readonly #server: Server

  private constructor(server: Server) {
    this.#server = server
    server.on('request', (request, response) => {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => {
        this.reports.push({ ...JSON.parse(Buffer.concat(chunks).toString()), at: performance.now() })
        response.end()
      })
    })
  }

  /** `address`: where the apps reach it, e.g. from containers. */
  static async start(address = '127.0.0.1'): Promise<Collector> {
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(0, address, resolve))
    return new Collector(server)
  }

  get env(): { readonly COLLECTOR: string } {
    const { address, port } = this.#server.address() as AddressInfo
    return { COLLECTOR: `http://${address}:${port}/` }
  }

  /** Settings of a server whose instances shall reach it from networks of their own. */
  get access(): { readonly SHIPLOCK_HOST_ACCESS: string } {
    return { SHIPLOCK_HOST_ACCESS: `*=${(this.#server.address() as AddressInfo).port}` }
  }

  of(kind: Report['kind']): readonly Report[] {
    return this.reports.filter((report) => report.kind === kind)
  }

  /** How often each instance was started. */
  startsOf(deployment: string): ReadonlyMap<string, number> {
    const starts = new Map<string, number>()
    for (const { instance = '', ...report } of this.of('started')) {
      if (report.deployment === deployment) starts.set(instance, (starts.get(instance) ?? 0) + 1)
    }
    return starts
  }

  /** Requests at a time at which there must be none; empty when I2 held. */
  get breaches(): readonly string[] {
    return this.reports
      .filter((report) => report.kind.startsWith('asked-'))
      .map((report) => `${report.instance} (${report.version}) ${report.kind}`)
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}
