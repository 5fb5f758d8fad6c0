import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { silentLogger } from '../src/core/log.ts'
import type { InstanceId, ServiceEnvironmentId } from '../src/domain/ids.ts'
import { EmbeddedEdge } from '../src/edge/embedded/embedded-edge.ts'
import { EdgeLoad } from '../test/support/edge-load.ts'

export interface SwapLossReport {
  readonly swaps: number
  readonly requests: number
  readonly lost: number
  readonly closedConnections: number
  readonly flipP50Ms: number
  readonly flipP99Ms: number
  readonly longestDrainMs: number
}

const ROUTE = 'sen_swaps' as ServiceEnvironmentId
const HOST = 'swaps.localhost'

/**
 * DESIGN.md §10: swaps under 32 keep-alive clients that never retry, half of them POST with an echo check. Each swap brings a new
 * instance on a new port; the old one is closed, with every connection it has, right after its drain.
 */
export async function benchSwapLoss(swaps = 1000, entryPath = resolve('dist/edge/embedded/main.js')): Promise<SwapLossReport> {
  const directory = mkdtempSync(join(tmpdir(), 'shiplock-bench-swaps-'))
  const listen = { host: '127.0.0.1', port: 0 }
  const edge = new EmbeddedEdge({ stateDirectory: join(directory, 'edge'), listen, workers: 2, entryPath, logger: silentLogger })
  let live = await startApp(0)
  try {
    await edge.ensureRunning()
    await edge.swap(swapTo(0, live))
    const load = new EdgeLoad((await edge.status()).port, HOST)
    const flips: number[] = []
    let longestDrainMs = 0
    for (let count = 1; count <= swaps; count++) {
      const next = await startApp(count)
      flips.push((await edge.swap(swapTo(count, next))).flipMs)
      load.forbidden.clear()
      load.forbidden.add(`v${count - 1}`)
      const { drainMs } = await edge.drain(ROUTE, [instance(count - 1)], { timeoutMs: 10_000, fence: 1 })
      longestDrainMs = Math.max(longestDrainMs, drainMs)
      live.close()
      live.closeAllConnections()
      live = next
    }
    const { requests, errors, unannouncedCloses, announcedCloses } = await load.stop()
    flips.sort((a, b) => a - b)
    const at = (share: number) => flips[Math.floor((flips.length - 1) * share)] ?? 0
    const closedConnections = unannouncedCloses + announcedCloses
    return { swaps, requests, lost: errors.length, closedConnections, flipP50Ms: at(0.5), flipP99Ms: at(0.99), longestDrainMs }
  } finally {
    await edge.stop(0)
    live.close()
    live.closeAllConnections()
    rmSync(directory, { recursive: true, force: true })
  }
}

const instance = (count: number) => `ins_v${count}` as InstanceId

function swapTo(count: number, app: Server) {
  const targets = [{ instanceId: instance(count), host: '127.0.0.1', port: (app.address() as AddressInfo).port }]
  return { routeId: ROUTE, hosts: [HOST], pathPrefix: '', targets, fence: 1, ifGeneration: null }
}

function startApp(count: number): Promise<Server> {
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const body = Buffer.concat(chunks)
      response.setHeader('x-version', `v${count}`)
      response.setHeader('content-length', body.length)
      const delayMs = request.url?.startsWith('/slow') ? Number(request.url.split('=')[1]) : 0
      if (delayMs > 0) setTimeout(() => response.end(body), delayMs)
      else response.end(body)
    })
  })
  return new Promise((done) => server.listen(0, '127.0.0.1', () => done(server)))
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const report = await benchSwapLoss(Number(process.argv[2] ?? 1000))
  process.stdout.write(`${JSON.stringify(report, null, 2)}\n`)
}
