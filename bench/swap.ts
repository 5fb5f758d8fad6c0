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
const ROUTE = 'sen_swap' as ServiceEnvironmentId
const CLIENTS = 32
const TABLE = JSON.stringify({ routes: 'x'.repeat(500) })

interface SwapRun {
  /** ms until the edge acknowledged, by the edge's own clock. */
  readonly flips: readonly number[]
  /** ms of a durable write of a file like the edge's table, between the swaps: the least that the edge must do. */
  readonly files: readonly number[]
  readonly requests: number
  readonly errors: readonly string[]
}

/** How hard the clients press: not at all, with a pause between requests, or as fast as two cores give answers. */
const LOADS = [
  { name: 'at rest', clients: 0, pauseMs: 0, budgetMs: 5 },
  { name: 'under load', clients: CLIENTS, pauseMs: 20, budgetMs: 5 },
  { name: 'saturated', clients: CLIENTS, pauseMs: 0, budgetMs: null },
] as const
type Load = (typeof LOADS)[number]

/** Swaps between two targets while clients that never retry ask; half of their requests are POSTs whose body must come back. */
export async function benchSwap(swaps: number): Promise<Section> {
  const runs: { workers: number; load: Load; run: SwapRun }[] = []
  for (const load of LOADS) {
    for (const workers of [1, 2]) runs.push({ workers, load, run: await swapUnderLoad(workers, swaps, load) })
  }
  return {
    name: 'swap',
    title: `${swaps} swaps each; load = ${CLIENTS} keep-alive clients that never retry, half of them POST`,
    rows: runs.flatMap(({ workers, load, run }) => rowsOf(workers, load, run)),
    figures: runs,
  }
}

function rowsOf(workers: number, load: Load, run: SwapRun): Row[] {
  const name = `${load.name}, ${workers} ${workers === 1 ? 'worker' : 'workers'}`
  const beside = (share: number) => ({ what: 'durable file write', value: quantile(run.files, share) })
  const budget = load.budgetMs === null ? {} : { budget: { atMost: load.budgetMs } }
  const flips: Row[] = [
    { name: `${name}: flip p50`, value: quantile(run.flips, 0.5), unit: 'ms', beside: beside(0.5) },
    { name: `${name}: flip p99`, value: quantile(run.flips, 0.99), unit: 'ms', beside: beside(0.99), ...budget },
  ]
  if (load.clients === 0) return flips
  const [first] = run.errors
  const lost: Row = { name: `${name}: lost of ${run.requests}`, value: run.errors.length, unit: '', budget: { atMost: 0 } }
  return [...flips, first === undefined ? lost : { ...lost, note: first }]
}

const DRAIN_MS = 10_000

async function swapUnderLoad(workers: number, swaps: number, pressure: Load): Promise<SwapRun> {
  const directory = mkdtempSync(join(tmpdir(), 'shiplock-bench-swap-'))
  const edge = new EmbeddedEdge({
    stateDirectory: join(directory, 'edge'),
    listen: { host: '127.0.0.1', port: 0 },
    workers,
    entryPath: resolve('dist/edge/embedded/main.js'),
    logger: silentLogger,
  })
  const programs = [new Program('app', ['a']), new Program('app', ['b'])]
  try {
    const ports = await Promise.all(programs.map(async (app) => (await app.said<{ port: number }>()).port))
    await edge.ensureRunning()
    const swapTo = (round: number) => {
      const targets = [{ instanceId: `ins_${round}` as InstanceId, host: '127.0.0.1', port: ports[round % 2] ?? 0 }]
      return edge.swap({ routeId: ROUTE, hosts: [HOST], pathPrefix: '', targets, fence: round + 1, ifGeneration: null })
    }
    await swapTo(0)
    const load = pressure.clients === 0 ? null : new Program('load', [(await edge.status()).port, HOST, pressure.clients, pressure.pauseMs])
    if (load !== null) programs.push(load)
    await load?.said()
    const flips: number[] = []
    const files: number[] = []
    for (let round = 1; round <= swaps; round++) {
      flips.push((await swapTo(round)).flipMs)
      const from = performance.now()
      await writeFileAtomic(join(directory, 'beside.json'), TABLE)
      files.push(performance.now() - from)
      // As the engine does: undrained, the idle connections of a thousand replaced targets use up the ports towards two upstreams.
      await edge.drain(ROUTE, [`ins_${round - 1}` as InstanceId], { timeoutMs: DRAIN_MS, fence: round + 1 })
    }
    load?.tell('stop')
    return { flips, files, ...((await load?.said<{ requests: number; errors: string[] }>()) ?? { requests: 0, errors: [] }) }
  } finally {
    for (const program of programs) await program.stop()
    await edge.stop(0)
    rmSync(directory, { recursive: true, force: true })
  }
}
