import { mkdtempSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { signalProcess } from '../../src/core/process-identity.ts'
import { removeTree } from '../../src/core/remove-tree.ts'
import { audit } from '../support/audit.ts'
import { Collector } from '../support/collector.ts'
import { eventually } from '../support/eventually.ts'
import { LoadClient } from '../support/load-client.ts'
import { Seeded } from '../support/seeded.ts'
import { disposeServers, startTestServer, type TestServer } from '../support/server.ts'
import { StoryRepo } from '../support/story-repo.ts'

const KILLS = Number(process.env.SHIPLOCK_TEST_KILLS ?? 12)
const SERVICES = ['alpha', 'beta'] as const
const VICTIMS = {
  server: 'dist/main.js',
  'edge primary': 'dist/edge/embedded/main.js {',
  'edge worker': 'dist/edge/embedded/main.js --worker',
  database: 'postgres -D ',
} as const
type Victim = keyof typeof VICTIMS
const NAMES = Object.keys(VICTIMS) as [Victim, ...Victim[]]
/** Bounds only; what was measured is printed. */
const RECOVERY_MS = 30_000

const repos = mkdtempSync('/tmp/sl-repos-')
let collector: Collector
afterAll(async () => {
  await disposeServers()
  await collector.stop()
  await removeTree(repos)
})

test('I5: kill -9 of server, edge or database at any moment loses no deployment and no route', async () => {
  const random = new Seeded()
  console.log(`SHIPLOCK_TEST_SEED=${random.seed} SHIPLOCK_TEST_KILLS=${KILLS}`)
  collector = await Collector.start()
  const server = await startTestServer({ env: collector.access })
  const deployers = SERVICES.map((name) => new Deployer(server, name, new Seeded(random.below(2 ** 31))))
  await Promise.all(deployers.map((deployer) => deployer.first()))
  const loads = SERVICES.map((name) => new LoadClient({ port: server.edgePort, host: `${name}.localhost`, clients: LIGHT }))
  await Promise.all(loads.map((load) => load.sees('v1')))
  for (const deployer of deployers) deployer.begin()

  const edgeWindows: { from: number; to: number }[] = []
  for (let round = 1; round <= KILLS; round++) {
    const victim = NAMES[(round - 1) % NAMES.length] ?? 'server'
    await new Promise((resolve) => setTimeout(resolve, random.below(2500)))
    const from = performance.now()
    await kill(server, victim)
    await Promise.all(loads.map((load) => load.answers(20, RECOVERY_MS)))
    const servingAgain = performance.now()
    await eventually(async () => (await server.api('GET', '/v1/health')).body.status === 'ok', { withinMs: RECOVERY_MS })
    if (victim.startsWith('edge')) edgeWindows.push({ from: from - 1000, to: servingAgain })
    console.log(`${round}: ${victim}; answers again ${ms(servingAgain - from)}, whole again ${ms(performance.now() - from)}`)
  }
  const made = (await Promise.all(deployers.map((deployer) => deployer.end()))).flat()
  await Promise.all(loads.map((load) => load.stop()))

  expect(made.length).toBeGreaterThan(SERVICES.length)
  for (const { id, may } of made) {
    const { status, settled, error } = await server.deployment(id)
    expect({ id, status, settled, error, isAsExpected: may.includes(status) }).toMatchObject({ settled: true, isAsExpected: true })
  }
  await eventually(async () => expect(await audit(server, collector)).toEqual([]), { withinMs: RECOVERY_MS })
  for (const deployer of deployers) await deployer.expectLive()
  // Who kills the edge loses what is in flight through it; nobody else may be noticed.
  const lost = loads.flatMap((load) => load.failures)
  expect(lost.filter((failure) => !edgeWindows.some(({ from, to }) => failure.at >= from && failure.from <= to))).toEqual([])
  console.log(
    `${made.length} deployments, ${loads.reduce((sum, load) => sum + load.requests, 0)} requests, ${lost.length} lost with the edge`,
  )
}, 360_000)

const LIGHT = { get: 1, post: 1, slow: 1, sse: 0, websocket: 0 }

/** Deploys one version after the other, good and bad ones, and goes back now and then; knows what must be live in the end. */
class Deployer {
  readonly #server: TestServer
  readonly #name: (typeof SERVICES)[number]
  readonly #random: Seeded
  readonly #repo: StoryRepo
  readonly #made: { id: string; may: readonly string[] }[] = []
  #number = 0
  #isEnding = false
  #loop: Promise<void> = Promise.resolve()

  constructor(server: TestServer, name: (typeof SERVICES)[number], random: Seeded) {
    this.#server = server
    this.#name = name
    this.#random = random
    this.#repo = new StoryRepo(join(repos, name), name, collector.env)
  }

  async first(): Promise<void> {
    this.#repo.commit(`v${++this.#number}`)
    await this.#server.deployed({ service: this.#name, source: this.#repo.source })
  }

  begin(): void {
    this.#loop = this.#run()
  }

  async end(): Promise<readonly { id: string; may: readonly string[] }[]> {
    this.#isEnding = true
    await this.#loop
    return this.#made
  }

  /** The newest deployment that reached `running` is the live one, and its version answers. */
  async expectLive(): Promise<void> {
    const { live, liveDeployment } = await this.#server.service(this.#name)
    expect(liveDeployment?.status).toBe('running')
    const env = JSON.parse((await this.#server.ask(this.#name, '/env')).body) as Record<string, string>
    const revision = liveDeployment?.revision
    expect(env.VERSION).toBe(revision?.kind === 'git' ? revision.message : null)
    expect(Number(env.SHIPLOCK_RELEASE?.replace('v', ''))).toBe(live?.release)
  }

  async #run(): Promise<void> {
    while (!this.#isEnding) {
      const id = await this.#ask()
      await eventually(async () => (await this.#server.deployment(id)).settled, { withinMs: 90_000 })
    }
  }

  async #ask(): Promise<string> {
    const kind = this.#random.pick(['good', 'good', 'bad', 'rollback'])
    const path = kind === 'rollback' ? '/v1/rollbacks' : '/v1/deployments'
    if (kind !== 'rollback') this.#repo.commit(`v${++this.#number}`, kind === 'bad' ? { exitAtStart: 1 } : {})
    const body = kind === 'rollback' ? { service: this.#name } : { service: this.#name, source: this.#repo.source }
    const key = `${this.#name}-${this.#number}-${this.#made.length}`
    const reply = await eventually(
      async () => {
        const answer = await this.#server.api('POST', path, body, { 'idempotency-key': key })
        return answer.status < 500 && answer
      },
      { withinMs: 60_000 },
    )
    // Nothing left to go back to: the next wish, then.
    if (reply.body.code === 'ROLLBACK_UNAVAILABLE') return this.#ask()
    expect(reply.status, JSON.stringify(reply.body)).toBe(202)
    this.#made.push({ id: reply.body.id, may: kind === 'bad' ? ['failed'] : ['running', 'superseded', 'rolled_back'] })
    return reply.body.id
  }
}

async function kill(server: TestServer, victim: Victim): Promise<void> {
  if (victim === 'server') {
    await server.kill9()
    await server.start()
    return
  }
  const found = server.processes().filter(({ command }) => command.includes(VICTIMS[victim]))
  expect(
    found.length,
    `${victim} among\n${server
      .processes()
      .map(({ command }) => command)
      .join('\n')}`,
  ).toBeGreaterThan(0)
  const [first] = found
  if (first !== undefined) signalProcess(first.identity, 'SIGKILL')
}

function ms(value: number): string {
  return `${Math.round(value)} ms`
}
