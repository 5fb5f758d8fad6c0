import { readFile } from 'node:fs/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { fillTables } from '../../src/config/documentation.ts'
import type { Deployment } from '../../src/domain/deployment.ts'
import { EVENT_MEANINGS, type Event } from '../../src/domain/event.ts'
import type { ServiceEnvironment } from '../../src/store/sql/catalog.ts'
import { createWorld, type World } from '../support/engine-world.ts'

const DOCUMENT = new URL('../../docs/events.md', import.meta.url).pathname

let world: World
let app: ServiceEnvironment
beforeEach(async () => {
  world = await createWorld()
  await world.server().start()
  app = await world.service()
})
afterEach(() => world.close())

function timeline(events: readonly Event[]): string {
  const rows = events.map((event) => {
    const stage = typeof event.data.stage === 'string' ? event.data.stage : ''
    return `| \`${event.type}\` | ${stage} | ${event.terminal ? 'terminal' : ''} |`
  })
  return ['', '| event | stage | |', '| --- | --- | --- |', ...rows, ''].join('\n')
}

async function ended(deployment: Deployment, status: Deployment['status']): Promise<Deployment> {
  const settled = await world.settled(deployment.id)
  expect(settled.status).toBe(status)
  return settled
}

/** Rewritten by `npx vitest run test/e2e/engine-timeline.test.ts -u`. */
test('I11: docs/events.md shows what is written, in this order, with exactly one end for each deployment', async () => {
  world.commit('one')
  world.commit('broken', {}, { buildFails: 'npm run build: exit code 1' })
  world.commit('deaf')
  world.commit('slow')
  world.commit('crashes', { deploy: { bakeMs: 60_000 } })
  world.commit('two')
  const stories: Record<string, Deployment> = {}
  stories.live = await world.live(app, 'one')
  stories['build-failed'] = await ended(await world.deploy(app, 'broken'), 'failed')
  const deaf = await world.deploy(app, 'deaf')
  world.unready.add(deaf.id)
  stories['not-ready'] = await ended(deaf, 'failed')

  const gate = world.gate(({ name, side }) => name === 'builder.build' && side === 'before')
  const slow = await world.deploy(app, 'slow')
  await gate.reached
  await world.cancel(slow.id)
  gate.open()
  stories.canceled = await ended(slow, 'canceled')

  const baking = world.gate(({ name, side, args }) => name === 'edge.traffic' && side === 'before' && args.length > 0)
  const crashes = await world.deploy(app, 'crashes')
  await baking.reached
  const [running] = (await world.instances(app)).filter((instance) => instance.deploymentId === crashes.id)
  if (running === undefined) throw new Error('it does not run')
  baking.open()
  await world.runtime.crash(running.id, 13)
  stories['swapped-back'] = await ended(crashes, 'failed')

  const two = await world.live(app, 'two')
  if (stories.live.releaseId === null) throw new Error('a live deployment has a release')
  stories.rollback = await ended(await world.rollback(app, stories.live.releaseId), 'running')
  stories['rolled-back'] = await world.find(two.id)
  expect(stories['rolled-back'].status).toBe('rolled_back')

  const tables: Record<string, string> = {}
  for (const [name, { id }] of Object.entries(stories)) {
    const events = await world.events(id)
    expect(events.every((event) => event.deploymentId === id)).toBe(true)
    expect(events.filter((event) => event.terminal)).toHaveLength(1)
    const end = events.findIndex((event) => event.terminal) + 1
    tables[name] = timeline(name === 'rolled-back' ? events.slice(-2) : events.slice(0, end))
  }
  const types = Object.entries(EVENT_MEANINGS).map(([type, meaning]) => `| \`${type}\` | ${meaning} |`)
  tables.types = ['', '| event | what it says |', '| --- | --- |', ...types, ''].join('\n')
  await expect(fillTables(await readFile(DOCUMENT, 'utf8'), tables)).toMatchFileSnapshot(DOCUMENT)
})

test('I11: of two builds of one service, events and filters never mix', async () => {
  world.commit('one')
  world.commit('broken', {}, { buildFails: 'exit code 1' })
  const old = await world.live(app, 'one')
  const present = await ended(await world.deploy(app, 'broken'), 'failed')
  const builds = (await world.events()).filter((event) => event.type.startsWith('build.'))
  expect(builds.map((event) => [event.type, event.deploymentId])).toEqual([
    ['build.running', old.id],
    ['build.finished', old.id],
    ['build.running', present.id],
    ['build.failed', present.id],
  ])
  const last = (await world.events(present.id)).at(-1)
  expect(last).toMatchObject({ type: 'deployment.failed', terminal: true })
  const sequences = (await world.events()).map((event) => event.sequence)
  expect([...sequences].sort((a, b) => a - b)).toEqual(sequences)
})
