import { afterAll, beforeAll, expect, test } from 'vitest'
import { audit } from '../support/audit.ts'
import { eventually } from '../support/eventually.ts'
import { StoryWorld } from '../support/story-world.ts'

let world: StoryWorld
beforeAll(async () => {
  world = await StoryWorld.begin()
})
afterAll(() => StoryWorld.endAll())

const envOf = async (service: string) => JSON.parse((await world.server.ask(service, '/env')).body) as Record<string, string>

test('I7: a rollback right after brings artifact, config and variables back exactly, and loses nothing', async () => {
  const { server } = world
  const repo = world.repo('back')
  await server.call('PUT', '/v1/variables', { service: 'back', environment: 'production', variables: { GREETING: 'hello' } })
  repo.commit('v1', {}, { run: { env: { MODE: 'one' } } })
  await server.deployed({ service: 'back', source: repo.source })
  const before = await envOf('back')
  await server.call('PUT', '/v1/variables', { service: 'back', environment: 'production', variables: { GREETING: 'changed', MORE: 'yes' } })
  repo.commit('v2', {}, { run: { env: { MODE: 'two' } }, deploy: { bake: '30s' } })
  const { id } = await server.deploy({ service: 'back', source: repo.source })
  await server.waitFor(id, (deployment) => deployment.stage === 'bake')
  expect(await envOf('back')).toMatchObject({ GREETING: 'changed', MORE: 'yes', MODE: 'two', VERSION: 'v2' })

  const load = await world.load('back', { clients: { sse: 0, websocket: 0 } })
  const asked = performance.now()
  const rollback = await server.rollback({ service: 'back', release: 1 })
  await server.waitFor(rollback.id, (deployment) => deployment.status === 'running')
  console.log(`rollback to warm instances: running after ${Math.round(performance.now() - asked)} ms (with polling)`)
  await load.sees('v1')
  await server.settled(rollback.id)
  await load.stop()
  expect(load.failures).toEqual([])
  const after = await envOf('back')
  const { SHIPLOCK_DEPLOYMENT: _new, ...rest } = after
  const { SHIPLOCK_DEPLOYMENT: _old, ...expected } = before
  expect(rest).toEqual(expected)
  expect(await server.deployment(id)).toMatchObject({ status: 'rolled_back', settled: true, replacedBy: rollback.id })
  expect((await server.service('back')).hold).not.toBeNull()
})

test('I7: a rollback to stopped instances starts them again', async () => {
  const { server } = world
  const repo = await world.serving('stopped')
  repo.commit('v2')
  await server.deployed({ service: 'stopped', source: repo.source })
  const standby = (await server.service('stopped')).instanceList.find((instance) => instance.state === 'standby')
  const load = await world.load('stopped')
  const asked = performance.now()
  const { id } = await server.rollback({ service: 'stopped' })
  await server.waitFor(id, (deployment) => deployment.status === 'running')
  console.log(`rollback to stopped instances: running after ${Math.round(performance.now() - asked)} ms (with polling)`)
  await load.sees('v1')
  await server.settled(id)
  expect((await server.service('stopped')).instanceList.find((instance) => instance.state === 'serving')?.id).toBe(standby?.id)
  await load.stop()
  expect(load.failures).toEqual([])
  await eventually(async () => expect(await audit(server, world.collector)).toEqual([]))
})

test('a rollback with today’s variables takes those, and one with nowhere to go is refused', async () => {
  const { server } = world
  const repo = await world.serving('current')
  expect(await server.api('POST', '/v1/rollbacks', { service: 'current' })).toMatchObject({
    status: 409,
    body: { code: 'ROLLBACK_UNAVAILABLE' },
  })
  repo.commit('v2')
  await server.deployed({ service: 'current', source: repo.source })
  await server.call('PUT', '/v1/variables', { service: 'current', environment: 'production', variables: { LATE: 'today' } })
  const { id } = await server.rollback({ service: 'current', variables: 'current' })
  await server.settled(id)
  expect(await envOf('current')).toMatchObject({ LATE: 'today', VERSION: 'v1' })
})
