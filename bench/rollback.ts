import { startTestServer, type TestServer } from '../test/support/server.ts'
import { BenchApp, firstAnswer } from './app.ts'
import type { Section } from './report.ts'
import { median, quantile } from './statistics.ts'

const SERVICE = 'back'
const HOST = `${SERVICE}.localhost`

/** From the API call to the first answer of the old version: its instances still run (the new one bakes), or are stopped (standby). */
export async function benchRollback(rounds: number): Promise<Section> {
  const app = new BenchApp(SERVICE)
  const server = await startTestServer({ env: { SHIPLOCK_LOG_LEVEL: 'warn' } })
  try {
    const warm: number[] = []
    const stopped: number[] = []
    const bare: number[] = []
    for (let round = 1; round <= rounds; round++) {
      bare.push(await app.bareStart(`bare${round}`))
      warm.push(await rollBack(server, app, `w${round}`, '10m'))
      stopped.push(await rollBack(server, app, `s${round}`, '0s'))
    }
    const beside = { what: 'bare start', value: median(bare) }
    return {
      name: 'rollback',
      title: 'API call → first answer of the old version',
      rows: [
        { name: 'to running instances', value: median(warm), unit: 'ms', beside, budget: { atMost: 250 } },
        { name: 'to running instances, slowest', value: quantile(warm, 1), unit: 'ms' },
        { name: 'to stopped instances', value: median(stopped), unit: 'ms', beside, budget: { atMost: 2000 } },
        { name: 'to stopped instances, slowest', value: quantile(stopped, 1), unit: 'ms' },
      ],
      figures: { warm, stopped, bare },
    }
  } finally {
    await server.dispose()
    app.remove()
  }
}

/** Two versions, then back to the first; `bake` of the second decides whether the first still runs. */
async function rollBack(server: TestServer, app: BenchApp, name: string, bake: string): Promise<number> {
  app.commit(`${name}-old`, { deploy: { bake: 0 } })
  const old = await server.deployed({ service: SERVICE, source: app.source })
  app.commit(`${name}-new`, { deploy: { bake, stopTimeout: '2s' } })
  const { id } = await server.deploy({ service: SERVICE, source: app.source })
  await server.waitFor(id, ({ stage, settled }) => settled || stage === 'bake')
  if (bake === '0s') await server.settled(id)
  const from = performance.now()
  const rollback = await server.rollback({ service: SERVICE, release: old.release })
  const { tookMs } = await firstAnswer({ port: server.edgePort, host: HOST, from, pauseMs: 2 }, (body) => body.startsWith(`${name}-old `))
  await server.settled(rollback.id)
  return tookMs
}
