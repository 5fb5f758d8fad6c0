import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { audit } from '../support/audit.ts'
import { dockerdMissing, sharedDockerd } from '../support/dockerd.ts'
import { eventually } from '../support/eventually.ts'
import { StoryWorld } from '../support/story-world.ts'

const missing = dockerdMissing()
const LONG = 540_000
const DEPLOYMENTS = 50
/** Trees that differ; a tree that was there before is not built again, and its version still takes over from another. */
const TREES = 10
const SERVICE = 'swap'
const versionOf = (number: number) => `v${number % TREES}`

let world: StoryWorld
beforeAll(async () => {
  if (missing === null) world = await StoryWorld.begin({}, await sharedDockerd())
}, LONG)
afterAll(() => StoryWorld.endAll())
beforeEach((context) => context.skip(missing !== null, missing ?? ''))

test(
  'I3: fifty deployments of containers under constant load of every kind lose nothing',
  async () => {
    const { server } = world
    const repo = world.repo(SERVICE)
    const source = (number: number) => {
      repo.commit(versionOf(number), {}, { deploy: { drainTimeout: '400ms', standby: 0 } })
      return repo.source
    }
    await server.deployed({ service: SERVICE, source: source(0) }, LONG)
    const load = await world.load(SERVICE)
    for (let number = 1; number <= DEPLOYMENTS; number++) {
      const [before, after] = [versionOf(number - 1), versionOf(number)]
      load.forbidden.delete(after)
      const { id } = await server.deploy({ service: SERVICE, source: source(number) })
      const running = await server.waitFor(id, (deployment) => deployment.status === 'running' || deployment.settled)
      expect(running.error).toBeNull()
      load.forbidden.add(before)
      const runningAt = performance.now()
      await eventually(() => (load.versions.get(after)?.last ?? 0) > runningAt, { withinMs: 20_000 })
      const { receipt } = await server.settled(id)
      expect(receipt).toMatchObject({ failures: 0 })
    }
    await load.stop()
    expect(load.failures).toEqual([])
    expect(load.connectionsClosed).toEqual({ announced: 0, unannounced: 0 })
    expect(load.versions.size).toBe(TREES)
    const isSound = async () => expect(await audit(server, world.collector, world.place)).toEqual([])
    await eventually(isSound, { withinMs: 30_000 })
    console.log({ requests: load.requests, longestMs: Math.round(load.longestMs), streamsEnded: load.announcedEnds })
  },
  LONG,
)

test(
  'I5: a service that is removed leaves neither a container nor a network in the engine',
  async () => {
    await world.server.call('DELETE', `/v1/services/${SERVICE}`)
    const isGone = async () => expect(await world.place()).toEqual({ running: new Set(), present: [], left: [] })
    await eventually(isGone, { withinMs: 30_000 })
  },
  LONG,
)
