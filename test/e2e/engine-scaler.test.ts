import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Instance } from '../../src/domain/deployment.ts'
import type { InstanceId } from '../../src/domain/ids.ts'
import { reap } from '../../src/engine/reaper.ts'
import { Scaler } from '../../src/engine/scaler.ts'
import type { ServiceEnvironment } from '../../src/store/sql/catalog.ts'
import { saveInstances } from '../../src/store/sql/instances.ts'
import { nextFence } from '../../src/store/sql/leases.ts'
import { listLeaving, listStranded, setWantedInstances } from '../../src/store/sql/upkeep.ts'
import { expectSound } from '../support/engine-checks.ts'
import type { TestServer } from '../support/engine-server.ts'
import { createWorld, type World } from '../support/engine-world.ts'
import { eventually } from '../support/eventually.ts'

let world: World
let server: TestServer
let scaler: Scaler
let app: ServiceEnvironment
beforeEach(async () => {
  world = await createWorld()
  server = await world.server().start()
  scaler = new Scaler(server.engine)
  app = await world.service()
  world.commit('one')
  await world.live(app, 'one')
})
afterEach(async () => {
  await scaler.stop()
  await world.close()
})

const want = (instances: number | null) => setWantedInstances(world.database, app.id, instances)
const inState = async (state: Instance['state']) => (await world.instances(app)).filter((instance) => instance.state === state)
const routed = async () => ((await world.route(app))?.targets ?? []).map((target) => target.instanceId).sort()
const serving = (count: number) =>
  eventually(async () => {
    const ids = (await inState('serving')).map((instance) => instance.id).sort()
    expect(ids).toHaveLength(count)
    expect(await routed()).toEqual(ids)
  })

describe('scaling', () => {
  test('I2: goes up and down one by one; a new instance is on the route only after its check passed, one that leaves is drained first', async () => {
    const calls: string[] = []
    world.hooks.push(({ name, side, args }) => {
      if (side === 'before' && ['runtime.stop', 'edge.swap', 'edge.drain'].includes(name)) calls.push(name)
      if (name === 'edge.swap' && side === 'before') calls.push(`${(args[0] as { targets: unknown[] }).targets.length} targets`)
    })
    await scaler.start()
    await want(4)
    await serving(4)
    expect(calls.filter((call) => call.endsWith('targets'))).toEqual(['2 targets', '3 targets', '4 targets'])
    calls.length = 0
    await want(2)
    await serving(2)
    await eventually(() => expect(world.running()).toHaveLength(2))
    expect(calls).toEqual(['edge.swap', '3 targets', 'edge.drain', 'runtime.stop', 'edge.swap', '2 targets', 'edge.drain', 'runtime.stop'])
    const told = (await world.events()).filter((event) => event.type === 'service.scaled').map((event) => event.message)
    expect(told).toEqual([
      'instance 1 was added: 2 serve',
      'instance 2 was added: 3 serve',
      'instance 3 was added: 4 serve',
      'instance 3 leaves: 3 serve',
      'instance 2 leaves: 2 serve',
    ])
    await want(null)
    await serving(1)
    expect(world.violations).toEqual([])
    await expectSound(world)
  })

  test('the next deployment keeps the number', async () => {
    await scaler.start()
    await want(3)
    await serving(3)
    world.commit('two')
    await world.live(app, 'two')
    await serving(3)
    expect(new Set((await inState('serving')).map((instance) => instance.deploymentId)).size).toBe(1)
  })

  test('I2: an instance that does not become ready never serves, is removed, and the log says why', async () => {
    const [live] = await inState('serving')
    if (live !== undefined) world.unready.add(live.deploymentId)
    await scaler.start()
    await want(2)
    const event = await eventually(async () => {
      const found = (await world.events()).find((candidate) => candidate.type === 'instance.unhealthy')
      expect(found?.message).toMatch(/a further instance \(1\) did not become ready: not ready after/)
      return found
    })
    expect(event?.data).toMatchObject({ scaling: true })
    await want(null)
    await eventually(() => expect(world.running()).toHaveLength(1))
    expect(await routed()).toEqual([live?.id])
    expect(world.violations).toEqual([])
  })

  test('I1: a deployment that begins meanwhile wins: what was being added is discarded, and the new version has the number', async () => {
    let release = () => {}
    const started = new Promise<void>((resolve) => {
      // Only the scaler starts anything until the new deployment launches, and by then this hook is gone.
      world.hooks.push(({ name, side }) => {
        if (name !== 'runtime.start' || side !== 'after') return
        resolve()
        return new Promise<void>((go) => {
          release = go
        })
      })
    })
    await scaler.start()
    await want(2)
    await started
    world.hooks = []
    world.commit('two')
    const two = await world.live(app, 'two')
    release()
    await serving(2)
    await eventually(async () => expect((await inState('serving')).every((instance) => instance.deploymentId === two.id)).toBe(true))
    await eventually(async () => {
      await reap(server.engine)
      expect(world.running()).toHaveLength(2)
    })
    expect(world.violations).toEqual([])
    await expectSound(world)
  })

  test('an instance that the health monitor has taken off the route is not put back by scaling', async () => {
    await scaler.start()
    await want(2)
    await serving(2)
    const off = (await inState('serving')).at(-1)
    const route = await world.route(app)
    if (off === undefined || route === undefined) throw new Error('nothing serves')
    const targets = route.targets.filter((target) => target.instanceId !== off.id)
    const fence = await nextFence(world.database)
    await world.edge.swap({ routeId: app.id, hosts: route.hosts, pathPrefix: '', targets, fence, ifGeneration: null })
    await want(3)
    await eventually(async () => expect(await inState('serving')).toHaveLength(3))
    expect(await routed()).toHaveLength(2)
    expect(await routed()).not.toContain(off.id)
  })
})

describe('what a crash leaves of it', () => {
  const instance = async (state: Instance['state'], more: Partial<Instance> = {}): Promise<Instance> => {
    const [live] = await inState('serving')
    if (live === undefined) throw new Error('nothing serves')
    const made: Instance = { ...live, id: `${live.id}x` as InstanceId, index: 7, state, address: null, ...more }
    await world.database.transaction((tx) => saveInstances(tx, [made]))
    return made
  }
  const stranded = () => listStranded(world.database, server.engine.owner.serverId)

  test('I5: one that was being added is taken up again, not started twice', async () => {
    const left = await instance('starting')
    await scaler.start()
    await want(2)
    await serving(2)
    expect((await inState('serving')).map((entry) => entry.id)).toContain(left.id)
    expect(await stranded()).toEqual([])
  })

  test('I5: one that was being added to what no longer serves is removed by the reaper', async () => {
    const left = await instance('starting')
    expect(await stranded()).toEqual([])
    world.commit('two')
    await world.live(app, 'two')
    expect(await stranded()).toEqual([left.id])
    await reap(server.engine)
    expect(await stranded()).toEqual([])
    expect((await world.instances(app)).some((entry) => entry.id === left.id)).toBe(false)
  })

  test('I5: one that had left the route is drained, stopped and removed, with a restart of the server as the only cause', async () => {
    const left = await instance('warm')
    const calls: string[] = []
    world.hooks.push(({ name, side }) => {
      if (side === 'before' && ['edge.drain', 'runtime.stop', 'runtime.remove'].includes(name)) calls.push(name)
    })
    await scaler.start()
    await eventually(async () => expect((await world.instances(app)).some((entry) => entry.id === left.id)).toBe(false))
    expect(calls).toEqual(['edge.drain', 'runtime.stop', 'runtime.remove'])
    await serving(1)
  })

  test('one that is kept warm while a new version bakes is not taken for one that leaves', async () => {
    const old = (await inState('serving'))[0]
    await scaler.start()
    world.commit('two', { deploy: { bakeMs: 60_000 } })
    await world.deploy(app, 'two')
    await eventually(async () => expect((await inState('warm')).map((entry) => entry.id)).toEqual([old?.id]))
    expect(await listLeaving(world.database, server.engine.owner.serverId)).toEqual([])
  })
})
