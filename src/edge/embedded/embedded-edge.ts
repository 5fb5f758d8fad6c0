import { existsSync } from 'node:fs'
import { request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { systemClock } from '../../core/clock.ts'
import { isShiplockError, ShiplockError, toShiplockError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { Logger } from '../../core/log.ts'
import type { InstanceId, ServiceEnvironmentId } from '../../domain/ids.ts'
import type { DrainReport, Edge, EdgeHealth, Route, RouteTraffic, SwapRequest, SwapResult } from '../edge.ts'
import { ControlClient } from './control-client.ts'
import { controlSocketPath } from './edge-config.ts'
import type { EdgeStatus } from './edge-process.ts'
import { ERROR_HEADER, GENERATION_HEADER, PROBE_HEADER } from './headers.ts'
import { launchEdge } from './launch.ts'

export interface EmbeddedEdgeOptions {
  /** Private directory of the edge: table, lock, control socket, log. Absolute. */
  readonly stateDirectory: string
  /** `host` is an address. */
  readonly listen: { readonly host: string; readonly port: number }
  /** Default: one per core, at most 2. */
  readonly workers?: number
  /** What people type, when something in front changes it. Default: http and the listening port. */
  readonly publicOrigin?: { readonly scheme: 'http' | 'https'; readonly port: number }
  /** How long an instance may take until its answer begins. Default `LIMITS.upstreamResponseMs`. */
  readonly responseTimeoutMs?: number
  /** A proxy of ours stands in front, and nobody else reaches the listener. */
  readonly trustsForwarded?: boolean
  /** What all hosts share when their apps belong to different people: no cookie is set for it. */
  readonly cookieBase?: string
  readonly nodePath?: string
  /** The built `main.js` of this folder. */
  readonly entryPath?: string
  readonly logger: Logger
}

/** The edge process as the server sees it: started or adopted, watched, and left running when the server goes. */
export class EmbeddedEdge implements Edge {
  readonly name = 'embedded'
  readonly #options: EmbeddedEdgeOptions
  readonly #client: ControlClient
  readonly #entryPath: string
  #status: EdgeStatus | null = null
  #isWatching = false
  #ensuring: Promise<void> | null = null

  constructor(options: EmbeddedEdgeOptions) {
    this.#options = options
    this.#client = new ControlClient(controlSocketPath(options.stateDirectory))
    this.#entryPath = options.entryPath ?? builtEntryPath()
  }

  // ── the process
  /** Starts the edge when none runs in the state directory, adopts the one that does, and waits until it serves. Throws PORT_IN_USE. */
  async ensureRunning(): Promise<void> {
    this.#ensuring ??= this.#ensure().finally(() => {
      this.#ensuring = null
    })
    await this.#ensuring
  }

  /** `ensureRunning`, and starts it again whenever it dies, until `detach` or `stop`. */
  async start(): Promise<void> {
    await this.ensureRunning()
    if (this.#isWatching) return
    this.#isWatching = true
    void this.#watch()
  }

  /** Lets go of the edge without ending it: traffic goes on while no server runs. */
  async detach(): Promise<void> {
    this.#isWatching = false
    this.#client.close()
  }

  /** Ends the edge process. `graceMs`: time for what is in flight. One that does not run is success. */
  async stop(graceMs = 5000): Promise<void> {
    this.#isWatching = false
    const status = await this.#ping().catch(() => null)
    if (status !== null) {
      await this.#client.once('stop', { graceMs }, graceMs + LIMITS.edgeControlMs).catch((error) => {
        if (!isShiplockError(error, 'EDGE_UNAVAILABLE')) throw error
      })
      await untilDead(status.pid)
    }
    this.#client.close()
    this.#status = null
  }

  /** Replaces the edge's processes (after an upgrade, say) without losing a request. */
  async restart(entryPath: string = this.#entryPath): Promise<void> {
    const before = await this.#ping()
    await this.#client.once('restart', { entryPath }, LIMITS.edgeStartMs + LIMITS.edgeControlMs)
    await untilDead(before.pid)
    await this.ensureRunning()
  }

  /** Pids, port, workers of the running edge. */
  async status(): Promise<EdgeStatus> {
    return await this.#ping()
  }

  async #ensure(): Promise<void> {
    const { stateDirectory, listen, workers, responseTimeoutMs, trustsForwarded = false, cookieBase } = this.#options
    const running = await this.#adopt()
    if (running === null) {
      const config = {
        stateDirectory,
        host: listen.host,
        // Any free port was asked for once; after a crash people still know the one that was taken then.
        port: listen.port === 0 ? (this.#status?.port ?? 0) : listen.port,
        workers: workers ?? Math.min(2, availableParallelism()),
        responseTimeoutMs: responseTimeoutMs ?? null,
        trustsForwarded,
        cookieBase: cookieBase ?? null,
      }
      try {
        await launchEdge(config, this.#options.nodePath ?? process.execPath, this.#entryPath)
      } catch (error) {
        // Another server was quicker: its edge is as good.
        if (!isShiplockError(error, 'DATA_DIRECTORY_LOCKED')) throw error
      }
    }
    this.#status = running ?? (await this.#untilReady())
    if (listen.port !== 0 && (this.#status.port !== listen.port || this.#status.host !== listen.host)) {
      const { host, port } = this.#status
      throw new ShiplockError('CONFLICT', `an edge already runs on ${host}:${port}, not on ${listen.host}:${listen.port}`, {
        hint: 'Stop that edge first, or keep its address in the settings.',
      })
    }
    this.#options.logger.info(running === null ? 'the edge was started' : 'the running edge was adopted', { pid: this.#status.pid })
  }

  /** The status of an edge that runs or is just starting; null when there is none. */
  async #adopt(): Promise<EdgeStatus | null> {
    try {
      const status = await this.#ping()
      return status.ready ? status : await this.#untilReady()
    } catch (error) {
      if (isShiplockError(error, 'EDGE_UNAVAILABLE')) return null
      throw error
    }
  }

  async #untilReady(): Promise<EdgeStatus> {
    const deadline = systemClock.monotonic() + LIMITS.edgeStartMs
    for (;;) {
      const status = await this.#ping().catch(() => null)
      if (status?.ready === true) return status
      if (systemClock.monotonic() > deadline) throw new ShiplockError('EDGE_UNAVAILABLE', 'the edge does not become ready')
      await systemClock.sleep(10)
    }
  }

  async #ping(): Promise<EdgeStatus> {
    this.#status = await this.#client.once<EdgeStatus>('ping', {}, LIMITS.edgeWorkerAckMs)
    return this.#status
  }

  async #watch(): Promise<void> {
    while (this.#isWatching) {
      await this.#client.untilLost()
      if (!this.#isWatching) return
      try {
        await this.ensureRunning()
      } catch (error) {
        this.#options.logger.error('the edge is down and could not be started', { error })
        await systemClock.sleep(RETRY_MS)
      }
    }
  }

  // ── Edge
  async check(signal: AbortSignal): Promise<EdgeHealth> {
    try {
      const status = await this.#client.call<EdgeStatus>('ping', {}, LIMITS.edgeWorkerAckMs, signal)
      const serving = status.workers.filter((worker) => !worker.isRetiring).length
      const where = `${status.host}:${status.port}`
      const summary = `embedded edge on ${where}, pid ${status.pid}, ${serving} workers${status.warning === null ? '' : `; ${status.warning}`}`
      return { ok: status.ready && serving > 0, summary }
    } catch (error) {
      return { ok: false, summary: toShiplockError(error).message }
    }
  }

  async swap(request: SwapRequest): Promise<SwapResult> {
    const started = performance.now()
    const result = await this.#client.call<SwapResult>('swap', request)
    return { ...result, flipMs: performance.now() - started }
  }

  async giveBack(routes: readonly SwapRequest[]): Promise<readonly ServiceEnvironmentId[]> {
    const added: ServiceEnvironmentId[] = []
    const call = (some: readonly SwapRequest[]) => this.#client.call<ServiceEnvironmentId[]>('giveBack', { routes: some })
    for (let at = 0; at < routes.length; at += LIMITS.edgeRoutesGivenBack) {
      const some = routes.slice(at, at + LIMITS.edgeRoutesGivenBack)
      added.push(...(await call(some).catch((error) => this.#giveBackSingly(some, error))))
    }
    return added
  }

  /** An edge that was started by an earlier version knows swaps only. */
  async #giveBackSingly(routes: readonly SwapRequest[], error: unknown): Promise<readonly ServiceEnvironmentId[]> {
    if (!isShiplockError(error, 'INPUT_INVALID')) throw error
    for (const route of routes) await this.swap(route)
    return routes.map((route) => route.routeId)
  }

  async drain(
    routeId: ServiceEnvironmentId,
    instances: readonly InstanceId[],
    options: { readonly timeoutMs: number; readonly fence: number },
  ): Promise<DrainReport> {
    const timeoutMs = Math.min(options.timeoutMs, LIMITS.drainMaxMs)
    const startedAt = performance.now()
    // When the edge's processes are replaced meanwhile, the next ones are asked for what is left of it.
    const request = () => {
      const left = Math.max(0, timeoutMs - (performance.now() - startedAt))
      return { routeId, instances, timeoutMs: left, fence: options.fence }
    }
    const report = await this.#client.call<DrainReport>('drain', request, timeoutMs + LIMITS.edgeControlMs)
    return { ...report, drainMs: performance.now() - startedAt }
  }

  async hold(routeId: ServiceEnvironmentId, options: { readonly maxMs: number; readonly fence: number }): Promise<void> {
    await this.#client.call('hold', { routeId, ...options })
  }

  async release(routeId: ServiceEnvironmentId, fence: number): Promise<void> {
    await this.#client.call('release', { routeId, fence })
  }

  async remove(routeId: ServiceEnvironmentId, fence: number): Promise<void> {
    await this.#client.call('remove', { routeId, fence })
  }

  async read(): Promise<readonly Route[]> {
    return await this.#client.call('read', {})
  }

  async traffic(routeId: ServiceEnvironmentId): Promise<RouteTraffic | null> {
    return await this.#client.call('traffic', { routeId })
  }

  /** Where a proxy on this host reaches the listener. */
  get listenUrl(): string {
    const { host, port } = this.#status ?? this.#options.listen
    const address = reachable(host)
    return `http://${address.includes(':') ? `[${address}]` : address}:${port}`
  }

  urlOf(host: string, pathPrefix: string): string {
    const { scheme, port } = this.#options.publicOrigin ?? { scheme: 'http', port: this.#status?.port ?? this.#options.listen.port }
    const isUsual = port === (scheme === 'https' ? 443 : 80)
    return `${scheme}://${host}${isUsual ? '' : `:${port}`}${pathPrefix}`
  }

  async probe(
    host: string,
    pathPrefix: string,
    signal: AbortSignal,
  ): Promise<{ readonly generation: number | null; readonly status: number }> {
    const { host: address, port } = this.#status ?? (await this.#ping())
    const { generation, status } = await this.probeThrough({ isTls: false, host: reachable(address), port }, host, pathPrefix, signal)
    return { generation, status }
  }

  /** The same, on the way that a proxy in front of this edge gives it. `isOurs`: the answer came from this edge, be it an error page. */
  async probeThrough(
    entry: { readonly isTls: boolean; readonly host: string; readonly port: number },
    host: string,
    pathPrefix: string,
    signal: AbortSignal,
  ): Promise<{ readonly generation: number | null; readonly status: number; readonly isOurs: boolean }> {
    const { probeToken } = this.#status ?? (await this.#ping())
    return await new Promise((resolve, reject) => {
      const options = {
        host: entry.host,
        port: entry.port,
        path: `${pathPrefix}/`,
        headers: { host, [PROBE_HEADER]: probeToken },
        agent: false as const,
        signal,
      }
      // The certificate may not be there yet; what is asked is who answers, and the answer is not used for anything else.
      const request = entry.isTls ? httpsRequest({ ...options, servername: host, rejectUnauthorized: false }) : httpRequest(options)
      request.on('error', reject)
      request.on('response', (response) => {
        const { [GENERATION_HEADER]: generation, [ERROR_HEADER]: error } = response.headers
        response.destroy()
        resolve({
          generation: typeof generation === 'string' ? Number(generation) : null,
          status: response.statusCode ?? 0,
          isOurs: generation !== undefined || error !== undefined,
        })
      })
      request.end()
    })
  }
}

const RETRY_MS = 500

/** An address that means "every interface" is reached over loopback. */
function reachable(host: string): string {
  return host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host
}

/** Beside this file when built; when this file runs as TypeScript (tests), the built one of the same tree. */
function builtEntryPath(): string {
  const beside = fileURLToPath(new URL('./main.js', import.meta.url))
  return existsSync(beside) ? beside : beside.replace('/src/edge/embedded/', '/dist/edge/embedded/')
}

async function untilDead(pid: number): Promise<void> {
  const deadline = systemClock.monotonic() + LIMITS.edgeStartMs
  while (systemClock.monotonic() < deadline) {
    try {
      process.kill(pid, 0)
    } catch {
      return
    }
    await systemClock.sleep(5)
  }
}
