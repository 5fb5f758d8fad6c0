import { mkdtempSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Deployment } from '../../src/contract/deployment.ts'
import { CRASH_POINTS, type CrashPoint } from '../../src/core/crash-points.ts'
import { removeTree } from '../../src/core/remove-tree.ts'
import { audit } from '../support/audit.ts'
import { Collector } from '../support/collector.ts'
import { eventually } from '../support/eventually.ts'
import { LoadClient } from '../support/load-client.ts'
import { disposeServers, StartFailure, startTestServer, type TestServer } from '../support/server.ts'
import { type Behaviour, type StoryConfig, StoryRepo } from '../support/story-repo.ts'

/**
 * The server kills itself at a named point, is started again, and must carry on as if nothing had happened. One server, one data
 * directory and one load for all points: what a crash leaves behind would show in the points after it.
 */
const SERVICE = 'crash'
const RELEASE_COMMAND = `node -e "fetch(process.env.COLLECTOR,{method:'POST',body:JSON.stringify({kind:'release-command',deployment:process.env.SHIPLOCK_DEPLOYMENT})})"`

interface Scenario {
  /** What is asked for; answers its id. Without: what stands is enough. */
  readonly act?: () => Promise<string>
  /** How it must end. */
  readonly status?: Deployment['status']
  /** The app itself fails requests in this scenario. */
  readonly appFails?: boolean
  /** Before the server with the armed point starts. */
  readonly prepare?: () => Promise<void>
  /** Instances that serve in the end, if not one. */
  readonly serving?: number
  /** Once all is found well. */
  readonly cleanUp?: () => Promise<void>
}

const deploysNew: Scenario = { act: () => deploy({}), status: 'running' }
const deploysBaked: Scenario = { act: () => deploy({}, { deploy: { bake: '300ms' } }), status: 'running' }
const runsReleaseCommand: Scenario = {
  act: () => deploy({}, { deploy: { releaseCommand: RELEASE_COMMAND } }),
  status: 'running',
}
const preparesRuntime: Scenario = {
  act: () => deploy({}, { run: { prepareCommands: [`echo ${number} > version`] } }),
  status: 'running',
}
const stopsOldFirst: Scenario = { act: () => deploy({}, { deploy: { temporaryShutdown: true } }), status: 'running' }
const failsToStart: Scenario = { act: () => deploy({ exitAtStart: 1 }), status: 'failed' }
const crashesInBake: Scenario = {
  act: () => deploy({ crashAfterMs: 700 }, { deploy: { bake: '10s' } }),
  status: 'failed',
  appFails: true,
}
const losesStandby: Scenario = {
  prepare: async () => {
    await server.deployed({ service: SERVICE, source: commit({}, { deploy: { standby: 0 } }) })
  },
}
const scalesUp: Scenario = { act: () => scale(2), status: 'running', serving: 2, cleanUp: () => scaled(null, 1) }
const scalesDown: Scenario = { prepare: () => scaled(2, 2), act: () => scale(1), status: 'running', cleanUp: () => scaled(null, 1) }

/** Those of a rotation are in rotate-key.test.ts, those of a delivery in story-webhook.test.ts, of a removal in story-removal.test.ts, those of containers in containers.test.ts. */
type Point = Exclude<CrashPoint, `rotate-key.${string}` | `delivery.${string}` | `removal.${string}` | 'prepare.assembled-not-recorded'>
const isPoint = (point: CrashPoint): point is Point =>
  !/^(?:rotate-key|delivery|removal)\./.test(point) && point !== 'prepare.assembled-not-recorded'

const SCENARIOS: Readonly<Record<Point, Scenario>> = {
  'claim.committed': deploysNew,
  'fetch.before': deploysNew,
  'fetch.done-not-recorded': deploysNew,
  'build.before': deploysNew,
  'build.sandbox-made': deploysNew,
  'build.done-not-stored': deploysNew,
  'build.stored-not-recorded': deploysNew,
  'prepare.before': preparesRuntime,
  'prepare.made-not-recorded': preparesRuntime,
  'publish.done-not-recorded': deploysNew,
  'release-command.before': runsReleaseCommand,
  'release-command.done-not-recorded': runsReleaseCommand,
  'launch.before': deploysNew,
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

/** The same points on the other ways through the engine. */
const MORE: readonly (readonly [string, CrashPoint, Scenario])[] = [
  ['a rollback that wakes standby', 'launch.before', { act: rollback, status: 'running' }],
  ['a rollback that wakes standby', 'launch.started-not-recorded', { act: rollback, status: 'running' }],
  ['a rollback that wakes standby', 'swap.edge-acknowledged', { act: rollback, status: 'running' }],
  ['a cancel', 'undo.before', { act: canceled, status: 'canceled' }],
  ['a cancel', 'undo.done-not-recorded', { act: canceled, status: 'canceled' }],
  ['a failed bake', 'settle.recorded', crashesInBake],
  [
    'a failed deployment that had stopped the old version',
    'undo.done-not-recorded',
    {
      act: () => deploy({ exitAtStart: 1 }, { deploy: { temporaryShutdown: true } }),
      status: 'failed',
    },
  ],
]

let server: TestServer
let collector: Collector
let load: LoadClient
let repo: StoryRepo
let number = 1
const repos = mkdtempSync('/tmp/sl-repos-')
const resumes: string[] = []

beforeAll(async () => {
  collector = await Collector.start()
  repo = new StoryRepo(join(repos, 'app'), SERVICE, collector.env)
  server = await startTestServer()
  repo.commit('v1')
  await server.deployed({ service: SERVICE, source: repo.source })
  load = new LoadClient({
    port: server.edgePort,
    host: `${SERVICE}.localhost`,
    clients: { get: 1, post: 1, slow: 1, sse: 1, websocket: 1 },
  })
  await load.sees('v1')
})

afterAll(async () => {
  await load.stop()
  await disposeServers()
  await collector.stop()
  await removeTree(repos)
  console.log(`resumed after the start of the process in ms (ready / settled):\n${resumes.join('\n')}`)
})

function commit(behaviour: Behaviour = {}, config: StoryConfig = {}) {
  number += 1
  repo.commit(`v${number}`, behaviour, config)
  return repo.source
}

async function deploy(behaviour: Behaviour, config: StoryConfig = {}): Promise<string> {
  return (await server.deploy({ service: SERVICE, source: commit(behaviour, config) })).id
}

async function rollback(): Promise<string> {
  return (await server.rollback({ service: SERVICE })).id
}

/** Answers the deployment that is scaled: it is, and stays, the live one. */
async function scale(instances: number | null): Promise<string> {
  const { live } = await server.call('PUT', `/v1/services/${SERVICE}/scale`, { instances })
  return live.deploymentId
}

async function scaled(instances: number | null, serving: number): Promise<void> {
  await scale(instances)
  await eventually(async () => expect((await server.service(SERVICE)).instances.serving).toBe(serving))
}

/** Of a deployment that waits for an app that never becomes ready. */
async function canceled(): Promise<string> {
  const id = await deploy({ neverReady: true })
  await server.waitFor(id, (deployment) => deployment.stage === 'verify')
  await server.call('POST', `/v1/deployments/${id}/cancel`)
  return id
}

test.each(CRASH_POINTS.filter(isPoint))('I5: kill -9 at %s leaves nothing half done', (point) => crashAt(point, SCENARIOS[point]))

test.each(MORE)('I5: kill -9 during %s at %s leaves nothing half done', (_name, point, scenario) => crashAt(point, scenario))

async function crashAt(point: CrashPoint, scenario: Scenario): Promise<void> {
  if (!server.isRunning) await server.start()
  await scenario.prepare?.()
  const before = (await server.service(SERVICE)).live
  const planned = scenario.act === rollback ? await server.call('GET', `/v1/services/${SERVICE}/rollback-plan`) : null
  await server.kill9()
  const failuresBefore = load.failures.length
  const id = await dieAt(point, scenario.act)
  const readyMs = await server.start()
  const settled = id === null ? null : await server.settled(id)
  resumes.push(`  ${point}: ${Math.round(readyMs)} / ${Math.round(performance.now() - server.startedAt)}`)

  expect(settled?.status, JSON.stringify(settled?.error)).toBe(scenario.status)
  await eventually(async () => expect((await server.service(SERVICE)).instances.serving).toBe(scenario.serving ?? 1))
  const { live, liveDeployment } = await server.service(SERVICE)
  expect(live?.deploymentId).toBe(scenario.status === 'running' ? id : before?.deploymentId)
  if (planned !== null) expect(live?.release).toBe(planned.to)
  await eventually(async () => expect(await audit(server, collector)).toEqual([]))
  const { revision } = liveDeployment ?? {}
  await serves(revision?.kind === 'git' ? revision.message : '')
  if (scenario.appFails !== true) expect(load.failures.slice(failuresBefore)).toEqual([])
  if (scenario === runsReleaseCommand) {
    expect(collector.of('release-command').filter((report) => report.deployment === id)).toHaveLength(1)
  }
  await scenario.cleanUp?.()
}

/** Starts the server with the point armed, acts, and waits until it has killed itself there. Answers what was asked for. */
async function dieAt(point: CrashPoint, act: Scenario['act']): Promise<string | null> {
  try {
    await server.start({ SHIPLOCK_CRASH_AT: point })
  } catch (error) {
    if (act === undefined && error instanceof StartFailure && error.signal === 'SIGKILL') return null
    throw error
  }
  const id = (await act?.()) ?? null
  await server.untilExit()
  expect(server.endedBy).toBe('SIGKILL')
  return id
}

/** From now on every answer is of that version. */
async function serves(version: string): Promise<void> {
  const now = performance.now()
  await load.answers(10)
  const others = [...load.versions].filter(([other, seen]) => other !== version && seen.last > now)
  expect(others, `only ${version} should serve`).toEqual([])
}
