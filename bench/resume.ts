import type { Deployment } from '../src/contract/deployment.ts'
import { startTestServer, type TestServer } from '../test/support/server.ts'
import { BenchApp } from './app.ts'
import type { Section } from './report.ts'
import { median } from './statistics.ts'

const SERVICE = 'resume'
const BUILD_MS = 1500
const BAKE_MS = 3000

interface Cut {
  readonly name: string
  readonly service: Readonly<Record<string, unknown>>
  readonly isAt: (deployment: Deployment) => boolean
  /** What the app's own work takes after the restart, at most: told beside. */
  readonly ownMs: number
}

const CUTS: readonly Cut[] = [
  {
    name: 'mid-build',
    service: { build: { buildCommands: [`sleep ${BUILD_MS / 1000}`] }, deploy: { bake: 0 } },
    isAt: ({ stage }) => stage === 'build',
    ownMs: BUILD_MS,
  },
  { name: 'mid-verify', service: { deploy: { bake: 0 } }, isAt: ({ stage }) => stage === 'verify' || stage === 'swap', ownMs: 0 },
  { name: 'mid-bake', service: { deploy: { bake: `${BAKE_MS}ms` } }, isAt: ({ stage }) => stage === 'bake', ownMs: BAKE_MS },
]

/** kill -9 of the server in the middle of a stage, then: start → the deployment is taken up again, and → settled. */
export async function benchResume(rounds: number): Promise<Section> {
  const app = new BenchApp(SERVICE)
  const server = await startTestServer({ env: { SHIPLOCK_LOG_LEVEL: 'warn' } })
  try {
    app.commit('v0', { deploy: { bake: 0 } })
    await server.deployed({ service: SERVICE, source: app.source })
    const figures = CUTS.map((cut) => ({ cut, ready: [] as number[], resumed: [] as number[], settled: [] as number[] }))
    for (let round = 0; round < rounds; round++) {
      for (const entry of figures) {
        app.commit(`${entry.cut.name} ${round}`, entry.cut.service)
        const times = await cutAndResume(server, app, entry.cut)
        entry.ready.push(times.ready)
        entry.resumed.push(times.resumed)
        entry.settled.push(times.settled)
      }
    }
    return {
      name: 'resume',
      title: 'kill -9 of the server in a stage, then from its start',
      rows: figures.flatMap(({ cut, resumed, settled, ready }) => [
        {
          name: `${cut.name}: taken up again`,
          value: median(resumed),
          unit: 'ms' as const,
          beside: { what: 'server ready', value: median(ready) },
          budget: { atMost: 3000 },
        },
        {
          name: `${cut.name}: settled`,
          value: median(settled),
          unit: 'ms' as const,
          note: `${cut.ownMs} ms of it at most are the build or bake itself`,
        },
      ]),
      figures: figures.map(({ cut, ...times }) => ({ name: cut.name, ...times })),
    }
  } finally {
    await server.dispose()
    app.remove()
  }
}

async function cutAndResume(server: TestServer, app: BenchApp, cut: Cut): Promise<{ ready: number; resumed: number; settled: number }> {
  const { id } = await server.deploy({ service: SERVICE, source: app.source })
  await server.waitFor(id, (deployment) => deployment.settled || cut.isAt(deployment))
  await server.kill9()
  const startedAt = Date.now()
  const ready = await server.start()
  const { status, settledAt } = await server.settled(id)
  if (status !== 'running') throw new Error(`${cut.name}: ended as ${status}`)
  const event = (await server.events(id)).findLast(({ type }) => type === 'deployment.resumed')
  if (event === undefined) throw new Error(`${cut.name}: was not cut`)
  return { ready, resumed: Date.parse(event.at) - startedAt, settled: Date.parse(settledAt ?? '') - startedAt }
}
