import { afterEach, beforeEach, expect, test } from 'vitest'
import { expectSound } from '../support/engine-checks.ts'
import { createWorld, type World } from '../support/engine-world.ts'

let world: World
beforeEach(async () => {
  world = await createWorld()
})
afterEach(() => world.close())

test('a deployment goes through every stage in order and ends up live', async () => {
  await world.server().start()
  const app = await world.service()
  world.commit('one')
  const live = await world.live(app, 'one')
  world.commit('two')
  const next = await world.live(app, 'two')
  expect(live.status).toBe('running')
  expect((await world.find(live.id)).status).toBe('superseded')
  const stages = (await world.events(next.id)).filter((event) => event.type === 'stage.started').map((event) => event.data.stage)
  expect(stages).toEqual([
    'fetch',
    'build',
    'prepare',
    'scan',
    'publish',
    'release-command',
    'launch',
    'verify',
    'swap',
    'drain',
    'bake',
    'retire',
  ])
  await expectSound(world)
})
