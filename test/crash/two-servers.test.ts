import { mkdtempSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Client } from '../../src/cli/client.ts'
import type { Event } from '../../src/contract/event.ts'
import { removeTree } from '../../src/core/remove-tree.ts'
import { audit, faultsOfEvents } from '../support/audit.ts'
import { Collector } from '../support/collector.ts'
import { eventually } from '../support/eventually.ts'
import { Seeded } from '../support/seeded.ts'
import type { TestServer } from '../support/server.ts'
import { StoryRepo } from '../support/story-repo.ts'
import { startTwoServers, type TwoServers } from '../support/two-servers.ts'

const SLOTS = 4
const SERVICES = 8
const DEPLOYMENTS = Number(process.env.SHIPLOCK_TEST_QUEUED ?? 200)
const LEFT_SLOT = new Set(['deployment.running', 'deployment.failed', 'deployment.canceled'])

const repos = mkdtempSync('/tmp/sl-repos-')
let collector: Collector
let servers: TwoServers
beforeAll(async () => {
  collector = await Collector.start()
  servers = await startTwoServers({ MAX_CONCURRENT_BUILDS: `${SLOTS}`, ...collector.access })
})
afterAll(async () => {
  await servers?.end()
  await collector.stop()
  await removeTree(repos)
})

const repo = (service: string) => new StoryRepo(join(repos, service), service, collector.env)

/** Who works and who stands by, as each of them says. */
async function roles(server: TestServer): Promise<readonly string[]> {
  const { body } = await server.api('GET', '/v1/server')
  return body.servers
    .filter((one: { isAlive: boolean }) => one.isAlive)
    .map((one: { isWorking: boolean }) => (one.isWorking ? 'works' : 'stands by'))
    .sort()
}

describe('two servers on one database', () => {
  test('both answer, one works; what is asked of either is done, and both tell the same', async () => {
    const { home, beside } = servers
    await eventually(async () => {
      for (const server of [home, beside]) expect(await roles(server)).toEqual(['stands by', 'works'])
    })
    const app = repo('shared')
    app.commit('v1')
    const { id } = await beside.deployed({ service: 'shared', source: app.source })
    expect((await home.ask('shared', '/')).body).toBe('v1')
    expect(await home.events()).toEqual(await beside.events())
    expect(await home.logLines(id)).toEqual(await beside.logLines(id))
    const lines = await beside.call('GET', '/v1/services/shared/logs?follow=false')
    expect(lines).toEqual(await home.call('GET', '/v1/services/shared/logs?follow=false'))
  })

  test('I5: the work of one that is killed goes on at the other at once, and so does the watch over what serves', async () => {
    const { home, beside } = servers
    const app = repo('taken-over')
    app.commit('v1', { readyAfterMs: 2500 })
    const { id } = await home.deploy({ service: 'taken-over', source: app.source })
    await home.waitFor(id, ({ stage }) => stage === 'verify')
    const killedAt = performance.now()
    await home.kill9()
    await eventually(async () => expect((await beside.events(id)).some(({ type }) => type === 'deployment.resumed')).toBe(true))
    console.log(`resumed by the other ${Math.round(performance.now() - killedAt)} ms after kill -9`)
    expect(await beside.settled(id)).toMatchObject({ status: 'running' })
    expect([...collector.startsOf(id).values()]).toEqual([1])
    // The edge is the node's, wherever its servers are.
    expect((await home.ask('taken-over', '/')).body).toBe('v1')

    // The instance was started under the one that is dead.
    await home.ask('taken-over', '/crash').catch(() => {})
    await eventually(async () => expect((await beside.events(id)).some(({ type }) => type === 'instance.restarted')).toBe(true), {
      withinMs: 30_000,
    })

    await home.start()
    await eventually(async () => expect(await roles(home)).toEqual(['stands by', 'works']))
    await beside.kill9()
    await eventually(async () => expect(await roles(home)).toEqual(['works']), { withinMs: 30_000 })
    await beside.start()
  })
})

/** What a reader of the whole event log sees, over all that is killed meanwhile. */
class Reader {
  readonly sequences: number[] = []
  readonly #stopped = new AbortController()
  readonly #done: Promise<void>

  constructor(server: TestServer) {
    this.#done = this.#read(new Client(server.apiUrl, server.token))
  }

  /** Resolves when it has seen that event. */
  async upTo(sequence: number): Promise<readonly number[]> {
    await eventually(async () => expect(this.sequences.at(-1)).toBeGreaterThanOrEqual(sequence), { withinMs: 60_000 })
    this.#stopped.abort()
    await this.#done
    return this.sequences.filter((seen) => seen <= sequence)
  }

  async #read(client: Client): Promise<void> {
    const frames = client.stream('listEvents', { query: { after: '0' }, signal: this.#stopped.signal })
    for await (const frame of frames) if (frame.event === 'event') this.sequences.push((frame.data as Event).sequence)
  }
}

test(`I4, I5, I6, I11: ${DEPLOYMENTS} queued deployments under kill -9 of either server at random: each runs once, in order, within the cap, seen by all`, async () => {
  const random = new Seeded()
  console.log(`SHIPLOCK_TEST_SEED=${random.seed} SHIPLOCK_TEST_QUEUED=${DEPLOYMENTS}`)
  const { home, beside } = servers
  const both: [TestServer, TestServer] = [home, beside]
  const begun = performance.now()
  const readers = both.map((server) => new Reader(server))
  const names = Array.from({ length: SERVICES }, (_, n) => `queued-${n}`)
  const sources = new Map(
    names.map((name) => {
      const app = repo(name)
      app.commit('v1')
      return [name, app.source]
    }),
  )
  let isOver = false
  const killing = killAtRandom(both, random, () => isOver)
  const made = await enqueueAll(both, random, names, sources)
  const isDone = async () => {
    const [row] = (await home.api('GET', '/v1/queue')).body.items
    return (
      row === undefined &&
      (await home.events()).filter(({ type, terminal }) => terminal && type.startsWith('deployment.')).length >= made.length
    )
  }
  await eventually(() => isDone().catch(() => false), { withinMs: 540_000 })
  isOver = true
  const kills = await killing
  await Promise.all(made.map(({ id }) => home.settled(id)))
  console.log(`${made.length} deployments and ${kills} kills in ${Math.round((performance.now() - begun) / 1000)} s`)

  const events = await home.events()
  expect(faultsOfEvents(events)).toEqual([])
  expect(mostAtOnce(events)).toBeLessThanOrEqual(SLOTS)
  const count = (id: string, type: string) => events.filter((event) => event.deploymentId === id && event.type === type).length
  for (const { id } of made) {
    const times = ['deployment.queued', 'deployment.started', 'release.created', 'deployment.running', 'deployment.failed'].map((type) =>
      count(id, type),
    )
    expect({ id, times }).toEqual({ id, times: [1, 1, 1, 1, 0] })
    expect([...collector.startsOf(id).values()]).toEqual([1])
  }
  for (const name of names) {
    const asked = made.filter(({ service }) => service === name).map(({ id }) => id)
    const ran = events
      .filter(({ type, service }) => type === 'deployment.started' && service === name)
      .map(({ deploymentId }) => deploymentId)
    const queued = events
      .filter(({ type, service }) => type === 'deployment.queued' && service === name)
      .map(({ deploymentId }) => deploymentId)
    expect(ran).toEqual(queued)
    expect([...ran].sort()).toEqual([...asked].sort())
    const service = await home.service(name)
    expect(service.liveDeployment).toMatchObject({ id: ran.at(-1), status: 'running' })
    expect((await home.ask(name, '/')).body).toBe('v1')
  }
  const last = events.at(-1)?.sequence ?? 0
  for (const reader of readers) expect(await reader.upTo(last)).toEqual(events.map(({ sequence }) => sequence))
  await eventually(async () => expect(await audit(home, collector)).toEqual([]), { withinMs: 30_000 })
  const resumed = events.filter(({ type }) => type === 'deployment.resumed').length
  console.log(`${resumed} times a deployment was taken up again; ${events.length} events`)
}, 660_000)

/** Asks either server, and the other one when that is down; the key makes it one deployment however often it is asked. */
async function enqueueAll(
  both: readonly [TestServer, TestServer],
  random: Seeded,
  names: readonly string[],
  sources: ReadonlyMap<string, unknown>,
): Promise<readonly { id: string; service: string }[]> {
  const made: { id: string; service: string }[] = []
  // A key counts per token, and the token of either is good at both.
  const authorization = `Bearer ${both[0].token}`
  for (let n = 0; n < DEPLOYMENTS; n++) {
    const service = names[n % names.length] ?? ''
    const body = { service, source: sources.get(service) }
    const reply = await eventually(
      async () => {
        const answer = await random
          .pick([...both])
          .api('POST', '/v1/deployments', body, { 'idempotency-key': `queued-${n}`, authorization })
        return answer.status < 500 && answer
      },
      { withinMs: 60_000 },
    )
    expect(reply.status, JSON.stringify(reply.body)).toBe(202)
    made.push({ id: reply.body.id, service })
  }
  return made
}

/** Now one, now the other, sometimes both; what was killed is started again after a while. */
async function killAtRandom(both: readonly [TestServer, TestServer], random: Seeded, isOver: () => boolean): Promise<number> {
  let kills = 0
  while (!isOver()) {
    await new Promise((resolve) => setTimeout(resolve, 1000 + random.below(5000)))
    if (isOver()) break
    const victims = random.below(5) === 0 ? both : [random.pick([...both])]
    for (const victim of victims) await victim.kill9()
    kills += victims.length
    await new Promise((resolve) => setTimeout(resolve, random.below(3000)))
    for (const victim of victims) await victim.start()
  }
  return kills
}

function mostAtOnce(events: readonly Event[]): number {
  const inProgress = new Set<string>()
  let most = 0
  for (const { type, deploymentId } of events) {
    if (deploymentId === null) continue
    if (type === 'deployment.started') inProgress.add(deploymentId)
    if (LEFT_SLOT.has(type)) inProgress.delete(deploymentId)
    most = Math.max(most, inProgress.size)
  }
  return most
}
