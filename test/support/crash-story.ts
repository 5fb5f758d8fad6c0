import { expect } from 'vitest'
import type { Deployment } from '../../src/contract/deployment.ts'
import type { CrashPoint } from '../../src/core/crash-points.ts'
import { audit } from './audit.ts'
import { drawCanary, filesWith } from './canary.ts'
import type { TestDockerd } from './dockerd.ts'
import { eventually } from './eventually.ts'
import type { LoadClient } from './load-client.ts'
import { StartFailure, type TestServer } from './server.ts'
import type { Behaviour, StoryConfig, StoryRepo } from './story-repo.ts'
import { StoryWorld } from './story-world.ts'

const SERVICE = 'crash'
const RELEASE_COMMAND = `node -e "fetch(process.env.COLLECTOR,{method:'POST',body:JSON.stringify({kind:'release-command',deployment:process.env.SHIPLOCK_DEPLOYMENT})})"`

/** Those of a rotation are in rotate-key.test.ts, those of a delivery in story-webhook.test.ts, of a removal in story-removal.test.ts. */
export type StoryPoint = Exclude<CrashPoint, `rotate-key.${string}` | `delivery.${string}` | `removal.${string}`>
/** Reached only where trees are put together into images. */
const ON_CONTAINERS: ReadonlySet<CrashPoint> = new Set(['prepare.assembled-not-recorded'])

export interface Scenario {
  /** What is asked for; answers its id. Without: what stands is enough. */
  readonly act?: (story: CrashStory) => Promise<string>
  /** How it must end. */
  readonly status?: Deployment['status']
  /** The app itself fails requests in this scenario. */
  readonly appFails?: boolean
  /** Before the server with the armed point starts. */
  readonly prepare?: (story: CrashStory) => Promise<unknown>
  /** Instances that serve in the end, if not one. */
  readonly serving?: number
  /** Once all is found well. */
  readonly cleanUp?: (story: CrashStory) => Promise<void>
}

const deploysNew: Scenario = { act: (story) => story.deploy({}), status: 'running' }
const deploysBaked: Scenario = { act: (story) => story.deploy({}, { deploy: { bake: '300ms' } }), status: 'running' }
const runsReleaseCommand: Scenario = {
  act: (story) => story.deploy({}, { deploy: { releaseCommand: RELEASE_COMMAND } }),
  status: 'running',
}
const preparesRuntime: Scenario = {
  act: (story) => story.deploy({}, { run: { prepareCommands: [`echo ${story.number} > version`] } }),
  status: 'running',
}
const stopsOldFirst: Scenario = { act: (story) => story.deploy({}, { deploy: { temporaryShutdown: true } }), status: 'running' }
const failsToStart: Scenario = { act: (story) => story.deploy({ exitAtStart: 1 }), status: 'failed' }
const crashesInBake: Scenario = {
  act: (story) => story.deploy({ crashAfterMs: 700 }, { deploy: { bake: '10s' } }),
  status: 'failed',
  appFails: true,
}
const losesStandby: Scenario = { prepare: (story) => story.deployed({ deploy: { standby: 0 } }) }
const scalesUp: Scenario = {
  act: (story) => story.scale(2),
  status: 'running',
  serving: 2,
  cleanUp: (story) => story.scaled(null, 1),
}
const scalesDown: Scenario = {
  prepare: (story) => story.scaled(2, 2),
  act: (story) => story.scale(1),
  status: 'running',
  cleanUp: (story) => story.scaled(null, 1),
}
const wakesStandby: Scenario = { act: (story) => story.rollback(), status: 'running' }
const isCanceled: Scenario = { act: (story) => story.canceled(), status: 'canceled' }

const SCENARIOS: Readonly<Record<StoryPoint, Scenario>> = {
  'claim.committed': deploysNew,
  'fetch.before': deploysNew,
  'fetch.done-not-recorded': deploysNew,
  'build.before': deploysNew,
  'build.sandbox-made': deploysNew,
  'build.done-not-stored': deploysNew,
  'build.stored-not-recorded': deploysNew,
  'prepare.before': preparesRuntime,
  'prepare.made-not-recorded': preparesRuntime,
  'prepare.assembled-not-recorded': deploysNew,
  'publish.done-not-recorded': deploysNew,
  'release-command.before': runsReleaseCommand,
  'release-command.done-not-recorded': runsReleaseCommand,
  'launch.before': deploysNew,
  'network.made': deploysNew,
  'launch.started-not-recorded': deploysNew,
  'verify.before': deploysNew,
  'verify.passed-not-recorded': deploysNew,
  'swap.decided': deploysNew,
  'swap.old-stopped': stopsOldFirst,
  'swap.edge-acknowledged': deploysNew,
  'swap.probed-not-recorded': deploysNew,
  'swap.recorded': deploysNew,
  'drain.before': deploysNew,
  'drain.done-not-recorded': deploysNew,
  'bake.before': deploysBaked,
  'bake.trouble-not-recorded': crashesInBake,
  'swap-back.decided': crashesInBake,
  'swap-back.edge-acknowledged': crashesInBake,
  'swap-back.recorded': crashesInBake,
  'retire.before': deploysNew,
  'retire.stopped-not-recorded': deploysNew,
  'undo.before': failsToStart,
  'undo.done-not-recorded': failsToStart,
  'settle.recorded': failsToStart,
  'standby.removed-not-recorded': losesStandby,
  'scale.planned': scalesUp,
  'scale.ready-not-joined': scalesUp,
  'scale.joined-not-recorded': scalesUp,
  'scale.left-not-recorded': scalesDown,
}

/** The container engine makes its networks itself. */
const ON_PROCESSES: ReadonlySet<StoryPoint> = new Set<StoryPoint>(['network.made'])

/** The points of a runtime, each with its scenario. */
export function crashMatrix(where: 'processes' | 'containers'): readonly (readonly [StoryPoint, Scenario])[] {
  const all = Object.entries(SCENARIOS) as [StoryPoint, Scenario][]
  const elsewhere = where === 'containers' ? ON_PROCESSES : ON_CONTAINERS
  return all.filter(([point]) => !elsewhere.has(point))
}

/** The same points on the other ways through the engine. */
export const OTHER_WAYS: readonly (readonly [string, StoryPoint, Scenario])[] = [
  ['a rollback that wakes standby', 'launch.before', wakesStandby],
  ['a rollback that wakes standby', 'launch.started-not-recorded', wakesStandby],
  ['a rollback that wakes standby', 'swap.edge-acknowledged', wakesStandby],
  ['a cancel', 'undo.before', isCanceled],
  ['a cancel', 'undo.done-not-recorded', isCanceled],
  ['a failed bake', 'settle.recorded', crashesInBake],
  [
    'a failed deployment that had stopped the old version',
    'undo.done-not-recorded',
    { act: (story) => story.deploy({ exitAtStart: 1 }, { deploy: { temporaryShutdown: true } }), status: 'failed' },
  ],
]

/**
 * The server kills itself at a named point, is started again, and must carry on as if nothing had happened. One server, one data
 * directory and one load for all points: what a crash leaves behind would show in the points after it.
 */
export class CrashStory {
  readonly world: StoryWorld
  readonly #repo: StoryRepo
  readonly #load: LoadClient
  /** Value of a secret of the service. */
  readonly #canary: string
  /** ms after the start of the process until ready and until settled, one line for each point. */
  readonly resumes: string[] = []
  number = 1

  private constructor(world: StoryWorld, repo: StoryRepo, load: LoadClient, canary: string) {
    this.#canary = canary
    this.world = world
    this.#repo = repo
    this.#load = load
  }

  /** `dockerd`: on containers of that engine. */
  static async begin(dockerd: TestDockerd | null = null): Promise<CrashStory> {
    const world = await StoryWorld.begin({}, dockerd)
    const canary = drawCanary('crash')
    await world.server.call('PUT', '/v1/variables', { variables: { CANARY: canary }, secret: true })
    const repo = await world.serving(SERVICE)
    const load = await world.load(SERVICE, { clients: { get: 1, post: 1, slow: 1, sse: 1, websocket: 1 } })
    return new CrashStory(world, repo, load, canary)
  }

  get server(): TestServer {
    return this.world.server
  }

  async deploy(behaviour: Behaviour, config: StoryConfig = {}): Promise<string> {
    return (await this.server.deploy({ service: SERVICE, source: this.#commit(behaviour, config) })).id
  }

  deployed(config: StoryConfig): Promise<Deployment> {
    return this.server.deployed({ service: SERVICE, source: this.#commit({}, config) })
  }

  async rollback(): Promise<string> {
    return (await this.server.rollback({ service: SERVICE })).id
  }

  /** Answers the deployment that is scaled: it is, and stays, the live one. */
  async scale(instances: number | null): Promise<string> {
    const { live } = await this.server.call('PUT', `/v1/services/${SERVICE}/scale`, { instances })
    return live.deploymentId
  }

  async scaled(instances: number | null, serving: number): Promise<void> {
    await this.scale(instances)
    await this.#untilServing(serving)
    // The one that leaves has left: the next kill is not meant for it.
    const isGone = async () => (await this.server.service(SERVICE)).instanceList.every((instance) => instance.state !== 'warm')
    await eventually(isGone, { withinMs: SETTLE_MS })
  }

  /** Of a deployment that waits for an app that never becomes ready. */
  async canceled(): Promise<string> {
    const id = await this.deploy({ neverReady: true })
    await this.server.waitFor(id, (deployment) => deployment.stage === 'verify')
    await this.server.call('POST', `/v1/deployments/${id}/cancel`)
    return id
  }

  async crashAt(point: StoryPoint, scenario: Scenario): Promise<void> {
    const { server, world } = this
    if (!server.isRunning) await server.start()
    await scenario.prepare?.(this)
    const before = (await server.service(SERVICE)).live
    const planned = scenario === wakesStandby ? await server.call('GET', `/v1/services/${SERVICE}/rollback-plan`) : null
    await server.kill9()
    const failuresBefore = this.#load.failures.length
    const id = await this.#dieAt(point, scenario.act)
    expect(filesWith([this.#canary], [server.dataDirectory]), 'no file may hold a variable').toEqual([])
    const readyMs = await server.start()
    const settled = id === null ? null : await server.settled(id)
    this.resumes.push(`  ${point}: ${Math.round(readyMs)} / ${Math.round(performance.now() - server.startedAt)}`)

    expect(settled?.status, JSON.stringify(settled?.error)).toBe(scenario.status)
    await this.#untilServing(scenario.serving ?? 1)
    const { live, liveDeployment } = await server.service(SERVICE)
    expect(live?.deploymentId).toBe(scenario.status === 'running' ? id : before?.deploymentId)
    if (planned !== null) expect(live?.release).toBe(planned.to)
    await eventually(async () => expect(await audit(server, world.collector, world.place)).toEqual([]), { withinMs: SETTLE_MS })
    const { revision } = liveDeployment ?? {}
    await this.#serves(revision?.kind === 'git' ? revision.message : '')
    if (scenario.appFails !== true) expect(this.#load.failures.slice(failuresBefore)).toEqual([])
    if (scenario === runsReleaseCommand) {
      expect(world.collector.of('release-command').filter((report) => report.deployment === id)).toHaveLength(1)
    }
    await scenario.cleanUp?.(this)
  }

  /** Starts the server with the point armed, acts, and waits until it has killed itself there. Answers what was asked for. */
  async #dieAt(point: StoryPoint, act: Scenario['act']): Promise<string | null> {
    const { server } = this
    try {
      await server.start({ SHIPLOCK_CRASH_AT: point })
    } catch (error) {
      if (act === undefined && error instanceof StartFailure && error.signal === 'SIGKILL') return null
      throw error
    }
    const id = (await act?.(this)) ?? null
    await server.untilExit()
    expect(server.endedBy).toBe('SIGKILL')
    return id
  }

  #commit(behaviour: Behaviour, config: StoryConfig) {
    this.number += 1
    this.#repo.commit(`v${this.number}`, behaviour, config)
    return this.#repo.source
  }

  async #untilServing(count: number): Promise<void> {
    await eventually(async () => expect((await this.server.service(SERVICE)).instances.serving).toBe(count), { withinMs: SETTLE_MS })
  }

  /** From now on every answer is of that version. */
  async #serves(version: string): Promise<void> {
    const now = performance.now()
    await this.#load.answers(10)
    const others = [...this.#load.versions].filter(([other, seen]) => other !== version && seen.last > now)
    expect(others, `only ${version} should serve`).toEqual([])
  }
}
const SETTLE_MS = 30_000
