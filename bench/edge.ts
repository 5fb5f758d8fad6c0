import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { silentLogger } from '../src/core/log.ts'
import type { InstanceId, ServiceEnvironmentId } from '../src/domain/ids.ts'
import type { SwapRequest } from '../src/edge/edge.ts'
import { EmbeddedEdge } from '../src/edge/embedded/embedded-edge.ts'
import { findProgram, type Running, startRivals, startUpstream } from './edge-rivals.ts'

export interface EdgeBenchOptions {
  readonly seconds?: number
  readonly rounds?: number
  readonly connections?: number
  readonly swaps?: number
  /** The built entry of the edge process. */
  readonly entryPath?: string
  readonly print?: (line: string) => void
}

export interface ProxyFigure {
  readonly name: string
  /** Median over the rounds. */
  readonly requestsPerSecond: number
  readonly cpuMicrosPerRequest: number
  readonly p50Ms: number
  readonly errors: number
}

export interface EdgeBenchReport {
  readonly proxies: readonly ProxyFigure[]
  readonly swapMs: { readonly count: number; readonly p50: number; readonly p99: number; readonly max: number }
}

const HOST = '127.0.0.1'
const ROUTE = 'sen_bench' as ServiceEnvironmentId
const TICKS_PER_SECOND = 100

/**
 * The embedded edge beside nginx, HAProxy and Caddy: same upstream, same load, one after another in each round, proxy on core 0, load
 * and upstream on core 1. CPU time per request is the figure to trust; requests per second depend on what else the machine does.
 */
export async function benchEdge(options: EdgeBenchOptions = {}): Promise<EdgeBenchReport> {
  const print = options.print ?? (() => {})
  const directory = mkdtempSync(join(tmpdir(), 'shiplock-bench-edge-'))
  const running: Running[] = []
  try {
    const upstream = await startUpstream(directory)
    if (upstream === null) throw new Error('the edge benchmark needs nginx as its upstream')
    running.push(upstream)
    const { edge, proxy } = await startEmbedded(directory, upstream.port, options)
    running.push(proxy, ...(await startRivals(directory, upstream.port)))
    const [, ...proxies] = running
    pin(upstream, 1)
    for (const candidate of proxies) pin(candidate, 0)
    const figures = await measureAll(proxies, options)
    const swapMs = await measureSwaps(edge, upstream.port, options.swaps ?? 200)
    const report: EdgeBenchReport = { proxies: figures, swapMs }
    for (const line of describe(report)) print(line)
    return report
  } finally {
    for (const program of running.reverse()) await program.stop()
    rmSync(directory, { recursive: true, force: true })
  }
}

async function startEmbedded(
  directory: string,
  upstream: number,
  options: EdgeBenchOptions,
): Promise<{ edge: EmbeddedEdge; proxy: Running }> {
  const edge = new EmbeddedEdge({
    stateDirectory: join(directory, 'edge'),
    listen: { host: HOST, port: 0 },
    workers: 1,
    entryPath: options.entryPath ?? resolve('dist/edge/embedded/main.js'),
    logger: silentLogger,
  })
  await edge.ensureRunning()
  await edge.swap(swapTo('bench', upstream))
  const status = await edge.status()
  const pids = [status.pid, ...status.workers.map((worker) => worker.pid)]
  return { edge, proxy: { name: 'shiplock edge', port: status.port, pids: () => pids, stop: () => edge.stop(0) } }
}

function swapTo(instance: string, port: number): SwapRequest {
  const targets = [{ instanceId: `ins_${instance}` as InstanceId, host: HOST, port }]
  return { routeId: ROUTE, hosts: ['127.0.0.1', 'localhost'], pathPrefix: '', targets, fence: 1, ifGeneration: null }
}

async function measureAll(proxies: readonly Running[], options: EdgeBenchOptions): Promise<readonly ProxyFigure[]> {
  const rounds = new Map<string, ProxyFigure[]>()
  for (const proxy of proxies) await load(proxy, 1, options.connections ?? 64)
  for (let round = 0; round < (options.rounds ?? 3); round++) {
    for (const proxy of proxies) {
      const figure = await load(proxy, options.seconds ?? 4, options.connections ?? 64)
      rounds.set(proxy.name, [...(rounds.get(proxy.name) ?? []), figure])
    }
  }
  return [...rounds].map(([name, figures]) => ({
    name,
    requestsPerSecond: median(figures.map((figure) => figure.requestsPerSecond)),
    cpuMicrosPerRequest: median(figures.map((figure) => figure.cpuMicrosPerRequest)),
    p50Ms: median(figures.map((figure) => figure.p50Ms)),
    errors: figures.reduce((sum, figure) => sum + figure.errors, 0),
  }))
}

async function load(proxy: Running, seconds: number, connections: number): Promise<ProxyFigure> {
  const wrk = findProgram('wrk')
  if (wrk === null) throw new Error('the edge benchmark needs wrk')
  const before = cpuSeconds(proxy.pids())
  const args = ['-t1', `-c${connections}`, `-d${seconds}s`, '--latency', `http://127.0.0.1:${proxy.port}/`]
  const output = await outputOf(...pinned(wrk, args))
  const cpu = cpuSeconds(proxy.pids()) - before
  const requests = Number(/([0-9]+) requests in/.exec(output)?.[1] ?? 0)
  const failed = /Non-2xx or 3xx responses: ([0-9]+)/.exec(output)?.[1]
  return {
    name: proxy.name,
    requestsPerSecond: Number(/Requests\/sec:\s+([0-9.]+)/.exec(output)?.[1] ?? 0),
    cpuMicrosPerRequest: (cpu * 1e6) / Math.max(1, requests),
    p50Ms: milliseconds(/50%\s+([0-9.]+)(us|ms|s)/.exec(output)),
    errors: Number(failed ?? 0) + (output.includes('Socket errors') ? 1 : 0),
  }
}

function milliseconds(match: RegExpExecArray | null): number {
  const unit = match?.[2] === 'us' ? 0.001 : match?.[2] === 's' ? 1000 : 1
  return Number(match?.[1] ?? 0) * unit
}

async function measureSwaps(edge: EmbeddedEdge, port: number, count: number): Promise<EdgeBenchReport['swapMs']> {
  const times: number[] = []
  for (let index = 0; index < count; index++) times.push((await edge.swap(swapTo(`bench${index % 2}`, port))).flipMs)
  times.sort((a, b) => a - b)
  const at = (share: number) => times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? 0
  return { count, p50: at(0.5), p99: at(0.99), max: at(1) }
}

function describe({ proxies, swapMs }: EdgeBenchReport): string[] {
  const [edge] = proxies
  const lines = proxies.map(({ name, requestsPerSecond, cpuMicrosPerRequest, p50Ms, errors }) => {
    const ratio = edge === undefined ? 0 : cpuMicrosPerRequest / edge.cpuMicrosPerRequest
    const figures = `${requestsPerSecond.toFixed(0).padStart(7)} req/s  ${cpuMicrosPerRequest.toFixed(1).padStart(6)} µs CPU/req`
    return `${name.padEnd(14)} ${figures}  ${p50Ms.toFixed(2).padStart(6)} ms p50  ${ratio.toFixed(2)} × the edge's CPU  ${errors} errors`
  })
  const swap = `swap acknowledged: p50 ${swapMs.p50.toFixed(2)} ms, p99 ${swapMs.p99.toFixed(2)} ms, max ${swapMs.max.toFixed(2)} ms`
  return [...lines, `${swap} (${swapMs.count} swaps, fsync included)`]
}

function cpuSeconds(pids: readonly number[]): number {
  let ticks = 0
  for (const pid of pids) {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    ticks += Number(fields[11]) + Number(fields[12])
  }
  return ticks / TICKS_PER_SECOND
}

function pin(program: Running, core: number): void {
  const taskset = findProgram('taskset')
  if (taskset === null) return
  for (const pid of program.pids()) spawnSync(taskset, ['-a', '-p', '-c', String(core), String(pid)])
}

function pinned(program: string, args: string[]): [string, string[]] {
  const taskset = findProgram('taskset')
  return taskset === null ? [program, args] : [taskset, ['-c', '1', program, ...args]]
}

async function outputOf(program: string, args: string[]): Promise<string> {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString()
  })
  await new Promise((done) => child.once('close', done))
  return output
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0
}
