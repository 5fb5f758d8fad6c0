import { mkdir, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { randomId } from '../../src/core/random-id.ts'
import type { Deployment } from '../../src/domain/deployment.ts'
import type { DeploymentId, InstanceId, ServerId } from '../../src/domain/ids.ts'
import type { HealthCheck } from '../../src/domain/service-config.ts'
import { HealthMonitor } from '../../src/engine/health-monitor.ts'
import { reap } from '../../src/engine/reaper.ts'
import { reconcile } from '../../src/engine/reconciler.ts'
import { lockServiceEnvironment, type ServiceEnvironment } from '../../src/store/sql/catalog.ts'
import { nextFence } from '../../src/store/sql/leases.ts'
import { expectSound } from '../support/engine-checks.ts'
import { digestOf } from '../support/engine-drivers.ts'
import type { TestServer } from '../support/engine-server.ts'
import { createWorld, type World } from '../support/engine-world.ts'
import { eventually } from '../support/eventually.ts'

let world: World
let server: TestServer
let app: ServiceEnvironment
beforeEach(async () => {
  world = await createWorld()
  app = await world.service()
  server = await world.server(randomId<ServerId>('srv')).start()
})
afterEach(() => world.close())

const targetsOf = async () => ((await world.route(app))?.targets ?? []).map((known) => known.instanceId).sort()
const typesOf = async (id: DeploymentId) => (await world.events(id)).map((event) => event.type)

describe('the health monitor', () => {
  let monitor: HealthMonitor
  beforeEach(async () => {
    monitor = new HealthMonitor(server.engine)
  })
  afterEach(() => monitor.stop())

  const HEALTH: HealthCheck = {
    probe: { kind: 'exec', command: 'check' },
    periodMs: 10,
    attemptTimeoutMs: 500,
    disconnectTimeoutMs: 30,
    failureTimeoutMs: 60_000,
    recoveryTimeoutMs: 20,
  }
  async function twoInstances(healthCheck: HealthCheck | null = null): Promise<{ live: Deployment; ids: InstanceId[] }> {
    world.commit('one', { run: { instances: 2, healthCheck } })
    const live = await world.live(app, 'one')
    return { live, ids: (await world.instances(app)).map((instance) => instance.id) }
  }

  test('restarts what exits; with several, the route does without it meanwhile', async () => {
    const { live, ids } = await twoInstances()
    const [first = '' as InstanceId, second = '' as InstanceId] = ids
    const gate = world.gate((step) => step.name === 'runtime.start' && step.side === 'before')
    await monitor.start()
    await world.runtime.crash(first, 1)
    await gate.reached
    expect(await targetsOf()).toEqual([second])
    gate.open()
    await eventually(async () => expect(await targetsOf()).toEqual([...ids].sort()))
    await eventually(async () => expect(await typesOf(live.id)).toEqual(expect.arrayContaining(['instance.exited', 'instance.restarted'])))
    expect((await world.instances(app)).find((instance) => instance.id === first)).toMatchObject({ restarts: 1, state: 'serving' })
    await expectSound(world)
  })

  test('a restart gets the variables of its release, whatever they are by now (I7)', async () => {
    const { ids } = await twoInstances()
    await world.database.query(`insert into variables (project_id, name, sealed_value) select id, 'ADDED', $1 from projects`, [
      world.sealer.seal('later'),
    ])
    await monitor.start()
    await world.runtime.crash(ids[0] as InstanceId, 1)
    await eventually(() => expect(world.host.instances.get(ids[0] as InstanceId)?.starts).toBe(2))
    expect(world.host.instances.get(ids[0] as InstanceId)?.spec.env.ADDED).toBeUndefined()
  })

  test('takes an unhealthy one off the route, and puts it back when it has recovered', async () => {
    const { live, ids } = await twoInstances(HEALTH)
    const sick = ids[0] as InstanceId
    let isSick = true
    world.hooks.push((step) => {
      if (step.name === 'runtime.exec' && step.side === 'before' && step.args[0] === sick && isSick) throw new Error('it hangs')
    })
    await monitor.start()
    await eventually(async () => expect(await targetsOf()).toEqual([ids[1]]))
    isSick = false
    await eventually(async () => expect(await targetsOf()).toEqual([...ids].sort()))
    // The route changes before the commit that says so.
    await eventually(async () =>
      expect(await typesOf(live.id)).toEqual(expect.arrayContaining(['instance.unhealthy', 'instance.recovered'])),
    )
    expect(world.host.instances.get(sick)?.starts).toBe(1)
  })

  test('pauses longer and longer when an instance can’t be started', async () => {
    await twoInstances()
    world.host.faults.startFails = 3
    const starts: number[] = []
    world.hooks.push((step) => {
      if (step.name === 'runtime.start' && step.side === 'before') starts.push(performance.now())
    })
    const [first] = (await world.instances(app)).map((instance) => instance.id)
    await monitor.start()
    await world.runtime.crash(first as InstanceId, 1)
    await eventually(() => expect(starts).toHaveLength(4))
    const pauses = starts.slice(1).map((at, nth) => at - (starts[nth] ?? 0))
    expect(pauses[0]).toBeGreaterThan(200)
    expect(pauses[1]).toBeGreaterThan(450)
    expect(pauses[2]).toBeGreaterThan(950)
    await eventually(async () => expect(await targetsOf()).toHaveLength(2))
  })

  test('puts back on the route what a monitor that was cut had restarted', async () => {
    const { ids } = await twoInstances()
    const route = await world.route(app)
    await world.edge.swap({
      routeId: app.id,
      hosts: route?.hosts ?? [],
      pathPrefix: '',
      targets: route?.targets.filter((known) => known.instanceId !== ids[0]) ?? [],
      fence: await nextFence(world.database),
      ifGeneration: null,
    })
    await monitor.start()
    await eventually(async () => expect(await targetsOf()).toEqual([...ids].sort()))
    await expectSound(world)
  })

  test('what it saw stop as a replaced version is left alone when a rollback has it serve again', async () => {
    world.commit('one')
    const one = await world.live(app, 'one')
    const [first] = (await world.instances(app)).map((instance) => instance.id)
    const watched: string[] = []
    world.hooks.push(({ name, side, args }) => {
      if (name === 'runtime.inspect' && side === 'after' && args[0] === first) watched.push('inspect')
    })
    await monitor.start()
    // It is watched from its first round on.
    await eventually(() => watched.length > 0)
    world.commit('two', { deploy: { bakeMs: 0 } })
    await world.live(app, 'two')
    const back = await world.settled((await world.rollback(app, one.releaseId as never)).id)
    expect(back.status).toBe('running')
    const known = watched.length
    // The next watch has begun, so whatever the first one still meant to do is done.
    await eventually(() => watched.length > known)
    expect(world.host.instances.get(first as InstanceId)?.starts).toBe(2)
    expect((await typesOf(back.id)).filter((type) => type === 'instance.exited' || type === 'instance.restarted')).toEqual([])
    await expectSound(world)
  })

  test('a deployment that swaps meanwhile wins', async () => {
    const { ids } = await twoInstances()
    const gate = world.gate((step) => step.name === 'runtime.start' && step.side === 'before')
    await monitor.start()
    await world.runtime.crash(ids[0] as InstanceId, 1)
    await gate.reached
    world.commit('two')
    const next = await world.live(app, 'two')
    gate.open()
    await monitor.stop()
    expect(
      (await world.instances(app)).filter((instance) => instance.state === 'serving').map((instance) => instance.deploymentId),
    ).toEqual([next.id])
    await reap(server.engine)
    await expectSound(world)
  })
})

describe('the reconciler', () => {
  test('gives an edge that lost its disk its routes back, and touches none that it has', async () => {
    world.commit('one')
    await world.live(app, 'one')
    const before = await targetsOf()
    await reconcile(server.engine)
    expect((await world.route(app))?.generation).toBe(1)
    await world.edge.remove(app.id, await nextFence(world.database))
    await reconcile(server.engine)
    expect(await targetsOf()).toEqual(before)
    await expectSound(world)
  })

  test('gives all of them back together, and leaves one that somebody is changing to the next round', async () => {
    world.commit('one')
    const others = await Promise.all(['second', 'third', 'fourth'].map((service) => world.service(service)))
    for (const each of [app, ...others]) await world.live(each, 'one')
    const routes = () => world.edge.read().then((all) => all.map((route) => route.id).sort())
    const before = await routes()
    expect(before).toHaveLength(4)
    for (const id of before) await world.edge.remove(id, await nextFence(world.database))
    world.edge.calls.length = 0
    await world.database.transaction(async (tx) => {
      await lockServiceEnvironment(tx, app.id)
      await reconcile(server.engine)
    })
    expect(await routes()).toEqual(before.filter((id) => id !== app.id))
    expect(world.edge.calls.map(({ call }) => call).filter((call) => call !== 'read')).toEqual(['giveBack'])
    await reconcile(server.engine)
    expect(await routes()).toEqual(before)
    await expectSound(world)
  })
})

describe('the reaper', () => {
  test('removes real things without a row, and says so', async () => {
    world.commit('one')
    const { id } = await world.live(app, 'one')
    const [known] = world.host.instances.values()
    if (known === undefined) throw new Error('nothing runs')
    const orphan = 'ins_unknown_0_0' as InstanceId
    await world.runtime.start({ ...known.spec, id: orphan }, 1, new AbortController().signal)
    await reap(server.engine)
    expect(await world.runtime.inspect(orphan)).toEqual({ state: 'missing' })
    expect((await world.events(id)).find((event) => event.type === 'orphan.removed')).toMatchObject({ instanceId: orphan })
    await expectSound(world)
  })

  test('leaves alone what a deployment in progress has just started, though no row names it yet', async () => {
    world.commit('one', { readiness: { attempts: 2, failureTimeoutMs: 20 } })
    const { id } = await world.deploy(app, 'one')
    world.unready.add(id)
    const gate = world.gate(
      (step) => step.name === 'runtime.start' && step.side === 'after' && String((step.args[0] as { id: string }).id).endsWith('_1'),
    )
    await gate.reached
    world.unready.delete(id)
    await reap(server.engine)
    gate.open()
    expect((await world.settled(id)).status).toBe('running')
    await expectSound(world)
  })

  test('removes standby when its time is over, and not before', async () => {
    world.commit('one')
    const old = await world.live(app, 'one')
    world.commit('two')
    await world.live(app, 'two')
    await reap(server.engine)
    const standby = (await world.instances(app)).find((instance) => instance.deploymentId === old.id)
    expect(standby?.state).toBe('standby')
    await world.database.query(`update instances set standby_until = now() - interval '1 second' where state = 'standby'`)
    await reap(server.engine)
    expect(await world.instances(app)).toHaveLength(1)
    expect(world.host.instances.has(standby?.id as InstanceId)).toBe(false)
    await expectSound(world)
  })

  test('keeps ten releases besides those that are live, standby, pinned or a target, and drops the trees of the others', async () => {
    for (let nth = 1; nth <= 16; nth++) {
      world.commit(`v${nth}`, { deploy: { bakeMs: 0 } })
      await world.live(app, `v${nth}`)
    }
    await world.database.query(`update releases set pinned = true where number = 2`)
    // Only the newest standby is still there.
    await world.database.query(
      `update instances set standby_until = now() - interval '1 second' where state = 'standby' and release_id not in (select id from releases where number = 15)`,
    )
    await reap(server.engine)
    await reap(server.engine)
    const kept = await world.database.query<{ number: number }>('select number from releases where deleted_at is null order by number')
    expect(kept.map((row) => row.number)).toEqual([2, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16])
    expect([...world.artifacts.trees.values()].sort()).toEqual(kept.map((row) => `v${row.number}`).sort())
    const [target] = await world.database.query<{ id: never }>('select id from releases where number = 5')
    expect((await world.settled((await world.rollback(app, target?.id as never)).id)).status).toBe('running')
    await expectSound(world)
  })

  test('removes trees and directories that nobody needs, but not while a build may be about to name one', async () => {
    world.artifacts.trees.set(digestOf('left'), 'left')
    await mkdir(join(world.workDirectory, 'deployments', 'dep_left'))
    world.commit('one')
    const gate = world.gate((step) => step.name === 'artifacts.put' && step.side === 'after')
    const { id } = await world.deploy(app, 'one')
    await gate.reached
    await reap(server.engine)
    expect([...world.artifacts.trees.values()].sort()).toEqual(['left', 'one'])
    expect(await readdir(join(world.workDirectory, 'deployments'))).toEqual([id])
    gate.open()
    await world.settled(id)
    await reap(server.engine)
    expect([...world.artifacts.trees.values()]).toEqual(['one'])
    expect(await readdir(join(world.workDirectory, 'deployments'))).toEqual([])
    await expectSound(world)
  })
})
