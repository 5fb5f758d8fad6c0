import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { writeFileAtomic } from '../src/core/atomic-file.ts'
import { silentLogger } from '../src/core/log.ts'
import type { InstanceId, ServiceEnvironmentId } from '../src/domain/ids.ts'
import { EmbeddedEdge } from '../src/edge/embedded/embedded-edge.ts'
import { Program } from './program.ts'
import type { Row, Section } from './report.ts'
import { quantile } from './statistics.ts'

const HOST = 'swap.localhost'
const CLIENTS = 32

interface SwapRun {
  /** ms until the edge acknowledged, by the edge's own clock. */
  readonly flips: readonly number[]
  /** ms of the whole call, from the server's side. */
  readonly calls: readonly number[]
  readonly requests: number
  readonly errors: readonly string[]
}

/** Swaps between two targets while clients that never retry hammer the route; half of their requests are POSTs. */
export async function benchSwap(swaps: number): Promise<Section> {
  const fileMs = await atomicWrites(Math.min(200, swaps))
  const runs = [
    { workers: 1, run: await swapUnderLoad(1, swaps) },
    { workers: 2, run: await swapUnderLoad(2, swaps) },
  ]
  return {
    name: 'swap',
    title: `${swaps} swaps under ${CLIENTS} keep-alive clients that never retry`,
    rows: runs.flatMap(({ workers, run }) => rowsOf(workers, run, fileMs)),
    figures: runs,
  }
}

function rowsOf(workers: number, run: SwapRun, fileMs: readonly number[]): Row[] {
  const name = `${workers} ${workers === 1 ? 'worker' : 'workers'}`
  const beside = (share: number) => ({ what: 'durable file write', value: quantile(fileMs, share) })
  return [
    { name: `${name}: flip, p50`, value: quantile(run.flips, 0.5), unit: 'ms', beside: beside(0.5) },
    { name: `${name}: flip, p99`, value: quantile(run.flips, 0.99), unit: 'ms', beside: beside(0.99), budget: { atMost: 5 } },
    { name: `${name}: call of the server, p50`, value: quantile(run.calls, 0.5), unit: 'ms' },
    {
      name: `${name}: requests lost of ${run.requests}`,
      value: run.errors.length,
      unit: '',
      budget: { atMost: 0 },
      ...(run.errors[0] === undefined ? {} : { note: run.errors[0] }),
    },
  ]
}

async function swapUnderLoad(workers: number, swaps: number): Promise<SwapRun> {
  const directory = mkdtempSync(join(tmpdir(), 'shiplock-bench-swap-'))
  const edge = new EmbeddedEdge({
    stateDirectory: join(directory, 'edge'),
    listen: { host: '127.0.0.1', port: 0 },
    workers,
    entryPath: resolve('dist/edge/embedded/main.js'),
    logger: silentLogger,
  })
  const apps = [new Program('app', ['a']), new Program('app', ['b'])]
  const programs = [...apps]
  try {
    const ports = await Promise.all(apps.map(async (app) => (await app.said<{ port: number }>()).port))
    await edge.ensureRunning()
    const swapTo = (round: number) => {
      const targets = [{ instanceId: `ins_${round}` as InstanceId, host: '127.0.0.1', port: ports[round % 2] ?? 0 }]
      return edge.swap({
        routeId: 'sen_swap' as ServiceEnvironmentId,
        hosts: [HOST],
        pathPrefix: '',
        targets,
        fence: round + 1,
        ifGeneration: null,
      })
    }
    await swapTo(0)
    const load = new Program('load', [(await edge.status()).port, HOST, CLIENTS])
    programs.push(load)
    const flips: number[] = []
    const calls: number[] = []
    for (let round = 1; round <= swaps; round++) {
      const from = performance.now()
      flips.push((await swapTo(round)).flipMs)
      calls.push(performance.now() - from)
    }
    load.tell('stop')
    return { flips, calls, ...(await load.said<{ requests: number; errors: string[] }>()) }
  } finally {
    for (const program of programs) await program.stop()
    await edge.stop(0)
    rmSync(directory, { recursive: true, force: true })
  }
}

/** What the edge must do at least: its table, durable, on the same disk. */
async function atomicWrites(count: number): Promise<readonly number[]> {
  const directory = mkdtempSync(join(tmpdir(), 'shiplock-bench-file-'))
  const table = JSON.stringify({ routes: 'x'.repeat(500) })
  const times: number[] = []
  for (let round = 0; round < count; round++) {
    const from = performance.now()
    await writeFileAtomic(join(directory, 'table.json'), table)
    times.push(performance.now() - from)
  }
  rmSync(directory, { recursive: true, force: true })
  return times
}
