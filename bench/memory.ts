import { processesOf } from '../test/support/leak-check.ts'
import { startTestServer, type TestServer } from '../test/support/server.ts'
import { BenchApp } from './app.ts'
import { cpuSecondsOf, type Memory, memoryOf, treeOf } from './process-figures.ts'
import { Program } from './program.ts'
import type { Row, Section } from './report.ts'
import { median } from './statistics.ts'

const SERVICE = 'rest'
const HOST = `${SERVICE}.localhost`
const REST_MS = 10_000

/** What stands there when nothing happens: a server with its database, an edge, instances, idle connections; and how soon it is there again. */
export async function benchMemory(instances: number, connections: number, starts: number): Promise<Section> {
  const app = new BenchApp(SERVICE)
  const server = await startTestServer({ env: { SHIPLOCK_LOG_LEVEL: 'warn', SHIPLOCK_EDGE_WORKERS: '1' } })
  try {
    app.commit('v1', { run: { instances }, deploy: { bake: 0 } })
    await server.deployed({ service: SERVICE, source: app.source })
    const restarts = await startTimes(server, starts)
    await resting()
    const cpu = cpuSecondsOf(treeOf(server.pid))
    await resting()
    const cpuPercent = ((cpuSecondsOf(treeOf(server.pid)) - cpu) / (REST_MS / 1000)) * 100
    const parts = partsOf(server)
    // Taken before the connections come.
    const rest = restRows(parts, instances, cpuPercent)
    const idle = await idleConnections(server, parts.edge, connections)
    return {
      name: 'memory',
      title: 'at rest, PSS (shared pages divided among those that map them), and start to ready',
      rows: [...rest, ...idle, ...startRows(restarts)],
      figures: { restarts },
    }
  } finally {
    await server.dispose()
    app.remove()
  }
}

interface Parts {
  readonly server: readonly number[]
  readonly database: readonly number[]
  readonly edge: readonly number[]
  /** The apps themselves. */
  readonly apps: readonly number[]
  /** What Shiplock keeps beside each app: supervisor, sandbox. */
  readonly beside: readonly number[]
}

function partsOf(server: TestServer): Parts {
  const all = processesOf(server.dataDirectory).map(({ identity, command }) => ({ pid: identity.pid, command }))
  const pick = (is: (command: string) => boolean) => all.filter(({ command }) => is(command)).map(({ pid }) => pid)
  const isDatabase = (command: string) => command.startsWith('postgres') || command.includes('/postgres ')
  const isEdge = (command: string) => command.includes('edge/embedded/')
  const isServer = (command: string) => command.endsWith('dist/main.js')
  const isApp = (command: string) => command === 'node server.js'
  return {
    server: pick(isServer),
    database: pick(isDatabase),
    edge: pick(isEdge),
    apps: pick(isApp),
    beside: pick((command) => ![isServer, isDatabase, isEdge, isApp].some((is) => is(command))),
  }
}

function restRows(parts: Parts, instances: number, cpuPercent: number): Row[] {
  const of = (pids: readonly number[]) => memoryOf(pids)
  const both = of([...parts.server, ...parts.database])
  const describe = ({ rss, processes }: Memory) => `${rss.toFixed(0)} MiB RSS, ${processes} processes`
  return [
    { name: 'server + embedded PostgreSQL', value: both.pss, unit: 'MiB', budget: { atMost: 200 }, note: describe(both) },
    { name: 'server', value: of(parts.server).pss, unit: 'MiB', note: describe(of(parts.server)) },
    { name: 'embedded PostgreSQL', value: of(parts.database).pss, unit: 'MiB', note: describe(of(parts.database)) },
    { name: 'edge, one worker', value: of(parts.edge).pss, unit: 'MiB', note: describe(of(parts.edge)) },
    {
      name: 'beside each instance (supervisor, sandbox)',
      value: of(parts.beside).pss / instances,
      unit: 'MiB',
      beside: { what: 'the app itself', value: of(parts.apps).pss / instances },
      note: describe(of(parts.beside)),
    },
    { name: 'CPU at rest, server + database, of one core', value: cpuPercent, unit: '%' },
  ]
}

async function idleConnections(server: TestServer, edge: readonly number[], count: number): Promise<Row[]> {
  const before = memoryOf(edge).rss
  const clients = new Program('idle-connections', [server.edgePort, HOST, count])
  try {
    const { open } = await clients.said<{ open: number }>()
    const grown = memoryOf(edge).rss
    return [
      { name: `edge with ${open} idle connections, resident`, value: grown, unit: 'MiB', budget: { atMost: 250 } },
      { name: 'per idle connection', value: ((grown - before) * 1024) / open, unit: 'KiB' },
    ]
  } finally {
    await clients.stop()
  }
}

interface Starts {
  /** The server and its database ended, apps and edge went on: an upgrade. */
  readonly stopped: readonly number[]
  /** kill -9 of the server: database and edge are adopted. */
  readonly killed: readonly number[]
}

async function startTimes(server: TestServer, count: number): Promise<Starts> {
  const stopped: number[] = []
  const killed: number[] = []
  for (let round = 0; round < count; round++) {
    await server.stop('server')
    stopped.push(await server.start())
    await server.kill9()
    killed.push(await server.start())
  }
  return { stopped, killed }
}

function startRows({ stopped, killed }: Starts): Row[] {
  return [
    { name: 'start to ready, existing data directory', value: median(stopped), unit: 'ms', budget: { atMost: 2000 } },
    { name: 'start to ready after kill -9', value: median(killed), unit: 'ms', budget: { atMost: 2000 } },
  ]
}

/** Not a wait for anything: the time over which rest is measured, and before it, for what a start allocates to be given back. */
function resting(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, REST_MS))
}
