import { afterAll, beforeAll, expect, test } from 'vitest'
import { audit } from '../support/audit.ts'
import { eventually } from '../support/eventually.ts'
import { StoryWorld } from '../support/story-world.ts'

let world: StoryWorld
beforeAll(async () => {
  world = await StoryWorld.begin()
})
afterAll(() => StoryWorld.endAll())

const RELEASE_COMMAND = { script: '#!/bin/sh\necho "relation users already exists" >&2\nexit 1\n' }

test('I1: a version that never becomes ready fails with attempts, last answer and last log lines; the old one never noticed', async () => {
  const { server } = world
  const repo = await world.serving('never')
  const load = await world.load('never')
  repo.commit(
    'v2',
    { neverReady: true },
    { deploy: { readinessCheck: { httpGet: { path: '/ready' }, failureTimeout: '2s', retryPeriod: '200ms' } } },
  )
  const { id } = await server.deploy({ service: 'never', source: repo.source })
  const { status, statusReason, error } = await server.settled(id)
  expect(status).toBe('failed')
  expect(error?.code).toBe('NOT_READY')
  expect(statusReason).toContain('HTTP 503')
  expect(error?.attempts.length).toBeGreaterThan(3)
  expect(error?.attempts.at(-1)).toMatchObject({
    outcome: 'failed',
    result: expect.stringContaining('503'),
    body: expect.stringContaining('warming up'),
  })
  expect(error?.logTail.join('\n')).toContain('v2 listens on')
  await load.stop()
  expect(load.failures).toEqual([])
  expect([...load.versions.keys()]).toEqual(['v1'])
  await eventually(async () => expect(await audit(server, world.collector)).toEqual([]))
})

test('a port that is never opened is told by its errno', async () => {
  const { server } = world
  const repo = world.repo('deaf')
  repo.commit('v1', { listen: false }, { deploy: { readinessCheck: { httpGet: { path: '/ready' }, failureTimeout: '1s' } } })
  const { id } = await server.deploy({ service: 'deaf', source: repo.source })
  const { error } = await server.settled(id)
  expect(error).toMatchObject({ code: 'NOT_READY', message: expect.stringContaining('ECONNREFUSED') })
  expect(error?.logTail.join('\n')).toContain('v1 starts')
})

test('an app that listens on another port is told which', async () => {
  const { server } = world
  const repo = world.repo('elsewhere')
  repo.commit('v1', { otherPort: 19_471 }, { deploy: { readinessCheck: { httpGet: { path: '/ready' }, failureTimeout: '1s' } } })
  const { id } = await server.deploy({ service: 'elsewhere', source: repo.source })
  const { error } = await server.settled(id)
  expect(error?.code).toBe('NOT_READY')
  expect(error?.message).toContain('19471')
})

test('an app that ends at its start fails at once, with its exit code and last words', async () => {
  const { server } = world
  const repo = await world.serving('dying')
  repo.commit('v2', { exitAtStart: 3 })
  const { id } = await server.deploy({ service: 'dying', source: repo.source })
  const { error } = await server.settled(id, 10_000)
  expect(error).toMatchObject({ code: 'LAUNCH_FAILED', message: expect.stringContaining('exit code 3') })
  expect(error?.logTail.join('\n')).toContain('no such table: users')
})

test('a crash five seconds after the swap swaps back by itself', async () => {
  const { server } = world
  const repo = await world.serving('relapse')
  const load = await world.load('relapse')
  repo.commit('v2', { crashAfterMs: 5000 }, { deploy: { bake: '30s' } })
  const { id } = await server.deploy({ service: 'relapse', source: repo.source })
  await load.sees('v2')
  const { status, error } = await server.settled(id)
  expect(status).toBe('failed')
  expect(error).toMatchObject({ code: 'BAKE_FAILED', message: expect.stringContaining('exit code 13') })
  expect(error?.logTail.join('\n')).toContain('v2 panics')
  const swappedBack = performance.now()
  await load.answers(10)
  await load.stop()
  const { live, liveDeployment } = await server.service('relapse')
  expect(live?.release).toBe(1)
  expect(liveDeployment?.status).toBe('running')
  // What the app dropped when it died is lost; once the old version serves again, nothing is.
  expect(load.failures.filter((failure) => failure.from > swappedBack)).toEqual([])
  const [first] = load.failures
  console.log({
    lost: load.failures.length,
    downMs: first === undefined ? 0 : Math.round((load.failures.at(-1)?.at ?? first.at) - first.at),
  })
  await eventually(async () => expect(await audit(server, world.collector)).toEqual([]))
})

test('a burst of server errors after the swap swaps back too', async () => {
  const { server } = world
  const repo = await world.serving('burst')
  const load = await world.load('burst')
  repo.commit('v2', { errorsAfterMs: 500 }, { deploy: { bake: '30s' } })
  const { id } = await server.deploy({ service: 'burst', source: repo.source })
  expect(await server.settled(id)).toMatchObject({ status: 'failed', error: { code: 'BAKE_FAILED' } })
  const swappedBack = performance.now()
  await load.answers(10)
  await load.stop()
  expect(load.failures.filter((failure) => failure.from > swappedBack)).toEqual([])
})

test('a release command that fails ends the deployment before anything is started, with its output', async () => {
  const { server, collector } = world
  const repo = await world.serving('migrate')
  const load = await world.load('migrate')
  repo.commit('v2', {}, { deploy: { releaseCommand: './migrate.sh' } }, { 'migrate.sh': RELEASE_COMMAND })
  const { id } = await server.deploy({ service: 'migrate', source: repo.source })
  const { status, error } = await server.settled(id)
  expect({ status, code: error?.code }).toEqual({ status: 'failed', code: 'RELEASE_COMMAND_FAILED' })
  expect(error?.message).toContain('exit code 1')
  expect((await server.logLines(id)).map((line) => line.text).join('\n')).toContain('relation users already exists')
  expect(collector.startsOf(id).size).toBe(0)
  await load.stop()
  expect(load.failures).toEqual([])
})

test('I2: an app that crashes while it serves is restarted; requests wait for it, and none reaches it before it is ready', async () => {
  const { server, collector } = world
  const repo = world.repo('restart')
  repo.commit('v1', { readyAfterMs: 700 })
  const { id } = await server.deployed({ service: 'restart', source: repo.source })
  const load = await world.load('restart', { clients: { sse: 0, websocket: 0 } })
  await server.ask('restart', '/crash').catch(() => null)
  const crashedAt = performance.now()
  await eventually(async () => expect((await server.events(id)).map((event) => event.type)).toContain('instance.restarted'))
  await load.answers(10)
  await load.stop()
  // What was under way when it died is lost; what came before the monitor saw it waits, too.
  const late = load.failures.filter((failure) => failure.from > crashedAt + 250)
  expect(late).toEqual([])
  expect(load.longestMs).toBeGreaterThan(600)
  expect(collector.breaches).toEqual([])
  console.log({ lost: load.failures.length, heldMs: Math.round(load.longestMs) })
})
