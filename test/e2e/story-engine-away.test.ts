import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { audit } from '../support/audit.ts'
import { dockerdMissing, privateDockerd, type TestDockerd } from '../support/dockerd.ts'
import { eventually } from '../support/eventually.ts'
import { StoryWorld } from '../support/story-world.ts'

const missing = dockerdMissing()
const LONG = 300_000
const SETTLE_MS = 60_000

/** The engine of a whole server dies, and is started again. */
describe.each([
  { name: 'that ends its containers when it starts', args: [] },
  { name: 'with --live-restore', args: ['--live-restore'] },
])('an engine $name is killed and started again', ({ args }) => {
  let dockerd: TestDockerd
  let world: StoryWorld
  beforeEach(async (context) => {
    context.skip(missing !== null, missing ?? '')
    dockerd = await privateDockerd({ args })
    world = await StoryWorld.begin({}, dockerd)
  }, LONG)
  afterEach(async () => {
    await StoryWorld.endAll()
    if (missing === null) await dockerd.remove()
  }, LONG)

  /** One version answers, and all that stands is wanted. */
  const settlesWith = (version: string) =>
    eventually(
      async () => {
        expect(await world.server.ask('shop', '/')).toMatchObject({ status: 200, version })
        expect(await audit(world.server, world.collector, world.place)).toEqual([])
      },
      { withinMs: SETTLE_MS },
    )

  test(
    'I1, I5: what served serves again, once it has passed readiness; a deployment that was under way comes to its end',
    async () => {
      const { server } = world
      const repo = await world.serving('shop')
      await dockerd.kill()
      // Containers need no engine to serve.
      expect(await server.ask('shop', '/')).toMatchObject({ status: 200, version: 'v1' })
      await dockerd.start()
      await settlesWith('v1')

      repo.commit('v2', { readyAfterMs: 3000 })
      const { id } = await server.deploy({ service: 'shop', source: repo.source })
      await server.waitFor(id, ({ stage }) => stage === 'verify')
      await dockerd.kill()
      await dockerd.start()
      const { status } = await server.settled(id, SETTLE_MS)
      await settlesWith(status === 'running' ? 'v2' : 'v1')

      repo.commit('v3')
      await server.deployed({ service: 'shop', source: repo.source }, SETTLE_MS)
      await settlesWith('v3')
      expect(world.collector.breaches).toEqual([])
      console.log({ args, underWay: status })
    },
    LONG,
  )
})
