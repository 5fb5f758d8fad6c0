import { startTestServer, type TestServer } from '../test/support/server.ts'
import { BenchApp, firstAnswer } from './app.ts'
import type { Row, Section } from './report.ts'
import { median } from './statistics.ts'

const SERVICE = 'bench'
const HOST = `${SERVICE}.localhost`
const OUR_SHARE_MS = 300
const PAUSE_MS = 2

export interface Round {
  readonly tookMs: number
  readonly stages: ReadonlyMap<string, number>
}

/** From the API call to the first answer of the new version through the edge, beside a bare start of the same app. */
export async function benchDeploy(rounds: number): Promise<Section> {
  const app = new BenchApp(SERVICE)
  const server = await startTestServer({ env: { SHIPLOCK_LOG_LEVEL: 'warn' } })
  try {
    app.commit('v0')
    const deploy = () => deployOnce(server, HOST, { service: SERVICE, source: app.source }, (body, id) => body.endsWith(id))
    await deploy()
    const bare: number[] = []
    const changed: Round[] = []
    const same: Round[] = []
    for (let round = 1; round <= rounds; round++) {
      bare.push(await app.bareStart(`bare${round}`))
      app.commit(`v${round}`)
      changed.push(await deploy())
      app.commitNothing()
      same.push(await deploy())
    }
    return {
      name: 'deploy',
      title: 'trigger → first answer of the new version, app without a build',
      rows: rowsOf(bare, changed, same),
      figures: { bare, changed: changed.map(plain), same: same.map(plain) },
    }
  } finally {
    await server.dispose()
    app.remove()
  }
}

function rowsOf(bare: readonly number[], changed: readonly Round[], same: readonly Round[]): Row[] {
  const beside = { what: 'bare start', value: median(bare) }
  const share = (rounds: readonly Round[]) => median(rounds.map((round) => round.tookMs)) - beside.value
  return [
    { name: 'new tree: trigger → first answer', value: median(changed.map((round) => round.tookMs)), unit: 'ms', beside },
    { name: 'new tree: our share', value: share(changed), unit: 'ms', budget: { atMost: OUR_SHARE_MS }, note: ledger(changed) },
    { name: 'identical tree: trigger → first answer', value: median(same.map((round) => round.tookMs)), unit: 'ms', beside },
    { name: 'identical tree: our share', value: share(same), unit: 'ms', budget: { atMost: OUR_SHARE_MS }, note: ledger(same) },
  ]
}

/** Medians of what each stage took, as the deployment itself records it. */
export function ledger(rounds: readonly Round[]): string {
  const names = [...(rounds[0]?.stages.keys() ?? [])]
  return names.map((name) => `${name} ${median(rounds.map((round) => round.stages.get(name) ?? 0)).toFixed(0)}`).join(' · ')
}

function plain(round: Round) {
  return { tookMs: round.tookMs, stages: Object.fromEntries(round.stages) }
}

/** `isIt` knows the new version's answer, by the deployment's id if need be. */
export async function deployOnce(
  server: TestServer,
  host: string,
  request: Parameters<TestServer['deploy']>[0],
  isIt: (body: string, id: string) => boolean,
): Promise<Round> {
  const from = performance.now()
  const { id } = await server.deploy(request)
  const { tookMs } = await firstAnswer({ port: server.edgePort, host, from, pauseMs: PAUSE_MS }, (body) => isIt(body, id))
  // The bake is not waited for: the next deployment's swap ends it.
  const deployment = await server.waitFor(id, ({ stage, settled }) => settled || stage === 'bake' || stage === 'retire')
  const queue = Date.parse(deployment.startedAt ?? '') - Date.parse(deployment.createdAt)
  const stages = deployment.stages.flatMap(({ stage, tookMs }) => (tookMs === null ? [] : [[stage, tookMs] as const]))
  return { tookMs, stages: new Map([['queue', queue], ...stages]) }
}
