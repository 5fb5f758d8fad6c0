import { afterAll, beforeAll, expect, test } from 'vitest'
import { audit } from '../support/audit.ts'
import { eventually } from '../support/eventually.ts'
import { StoryWorld } from '../support/story-world.ts'

let world: StoryWorld
beforeAll(async () => {
  world = await StoryWorld.begin()
})
afterAll(() => StoryWorld.endAll())

test('I3: twenty deployments under constant load of every kind lose nothing', async () => {
  const { server } = world
  const repo = await world.serving('swap')
  const load = await world.load('swap')
  for (let number = 2; number <= 21; number++) {
    repo.commit(`v${number}`, {}, { deploy: { drainTimeout: '400ms' } })
    const { id } = await server.deploy({ service: 'swap', source: repo.source })
    const running = await server.waitFor(id, (deployment) => deployment.status === 'running' || deployment.settled)
    expect(running.error).toBeNull()
    load.forbidden.add(`v${number - 1}`)
    await load.sees(`v${number}`)
    const { receipt } = await server.settled(id)
    expect(receipt).toMatchObject({ failures: 0 })
    expect(receipt?.requests).toBeGreaterThan(0)
  }
  await load.stop()
  expect(load.failures).toEqual([])
  expect(load.connectionsClosed).toEqual({ announced: 0, unannounced: 0 })
  expect([...load.versions.keys()].sort()).toEqual(Array.from({ length: 21 }, (_, index) => `v${index + 1}`).sort())
  await eventually(async () => expect(await audit(server, world.collector)).toEqual([]))
  console.log({ requests: load.requests, longestMs: Math.round(load.longestMs), streamsEnded: load.announcedEnds })
})

test('I3: an app that closes its idle connections after a second costs nobody a request', async () => {
  const { server } = world
  const repo = world.repo('shortlived')
  repo.commit('v1', { keepAliveMs: 1000 })
  await server.deployed({ service: 'shortlived', source: repo.source })
  // Pauses around the second at which the app closes: the race that a careless proxy loses.
  const load = await world.load('shortlived', { clients: { get: 6, post: 6, slow: 0, sse: 0, websocket: 0 }, pauseMs: 995 })
  await load.answers(60, 30_000)
  repo.commit('v2', { keepAliveMs: 1000 })
  await server.deployed({ service: 'shortlived', source: repo.source })
  await load.answers(30, 30_000)
  await load.stop()
  expect(load.failures).toEqual([])
})

test('an app that ignores SIGTERM is replaced without a loss, and killed', async () => {
  const { server } = world
  const repo = world.repo('stubborn')
  repo.commit('v1', { ignoreTerm: true })
  await server.deployed({ service: 'stubborn', source: repo.source })
  const load = await world.load('stubborn')
  repo.commit('v2', {}, { deploy: { stopTimeout: '500ms' } })
  const { id } = await server.deployed({ service: 'stubborn', source: repo.source })
  const stopped = (await server.events(id)).find((event) => event.type === 'instance.stopped')
  expect(stopped?.message).toContain('killed after 0.5 s')
  await load.stop()
  expect(load.failures).toEqual([])
  await eventually(async () => expect(await audit(server, world.collector)).toEqual([]))
})

test('I4: two services deploy at once and do not disturb each other', async () => {
  const { server } = world
  const names = ['left', 'right'] as const
  const repos = await Promise.all(names.map((name) => world.serving(name)))
  const loads = await Promise.all(names.map((name) => world.load(name)))
  for (const round of ['v2', 'v3', 'v4']) {
    await Promise.all(
      repos.map(async (repo, index) => {
        repo.commit(round)
        await server.deployed({ service: names[index] ?? '', source: repo.source })
      }),
    )
  }
  for (const load of loads) expect((await load.stop()).failures).toEqual([])
  await eventually(async () => expect(await audit(server, world.collector)).toEqual([]))
})

test('I3: temporaryShutdown holds requests instead of failing them, and the gap is told', async () => {
  const { server, collector } = world
  const repo = await world.serving('held')
  const load = await world.load('held')
  repo.commit('v2', { readyAfterMs: 800 }, { deploy: { temporaryShutdown: true } })
  const { receipt, id } = await server.deployed({ service: 'held', source: repo.source })
  await load.sees('v2')
  await load.stop()
  expect(load.failures).toEqual([])
  expect(receipt?.gapMs).toBeGreaterThanOrEqual(800)
  const told = (await server.events(id)).find((event) => event.type === 'stage.finished' && event.data.stage === 'swap')?.message
  expect(told).toContain(`nothing served for ${((receipt?.gapMs ?? 0) / 1000).toFixed(1)} s`)
  expect(load.longestMs).toBeGreaterThanOrEqual(800)
  const stoppedAt = collector.of('stopped').find((report) => report.version === 'v1' && report.instance !== undefined)?.at
  const startedAt = collector.of('started').find((report) => report.deployment === id)?.at
  expect(startedAt).toBeGreaterThan(stoppedAt ?? Number.POSITIVE_INFINITY)
  console.log({ gapMs: receipt?.gapMs, longestMs: Math.round(load.longestMs) })
})

test('I1: a temporaryShutdown whose new version fails starts the old one again; requests were held, none failed', async () => {
  const { server } = world
  const repo = await world.serving('heldback')
  const load = await world.load('heldback')
  repo.commit('v2', { exitAtStart: 1 }, { deploy: { temporaryShutdown: true } })
  const { id } = await server.deploy({ service: 'heldback', source: repo.source })
  expect(await server.settled(id)).toMatchObject({ status: 'failed', error: { code: 'LAUNCH_FAILED' } })
  await load.answers(10)
  await load.stop()
  expect(load.failures).toEqual([])
  expect([...load.versions.keys()]).toEqual(['v1'])
  await eventually(async () => expect(await audit(server, world.collector)).toEqual([]))
})
