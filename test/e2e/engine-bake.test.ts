import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { ShiplockError } from '../../src/core/errors.ts'
import type { Deployment } from '../../src/domain/deployment.ts'
import type { StageName } from '../../src/domain/deployment-machine.ts'
import type { DeploymentId, InstanceId } from '../../src/domain/ids.ts'
import type { HealthCheck } from '../../src/domain/service-config.ts'
import type { ServiceEnvironment } from '../../src/store/sql/catalog.ts'
import { expectSound } from '../support/engine-checks.ts'
import type { ConfigChanges } from '../support/engine-config.ts'
import { createWorld, type Gate, type World } from '../support/engine-world.ts'
import { eventually } from '../support/eventually.ts'

const HEALTH: HealthCheck = {
  probe: { kind: 'exec', command: 'check' },
  periodMs: 20,
  attemptTimeoutMs: 500,
  disconnectTimeoutMs: 60,
  failureTimeoutMs: 120,
  recoveryTimeoutMs: 20,
}
const LONG: ConfigChanges = { deploy: { bakeMs: 60_000 } }

let world: World
let app: ServiceEnvironment
let old: Deployment
beforeEach(async () => {
  world = await createWorld()
  app = await world.service()
  await world.server().start()
  world.commit('old')
  old = await world.live(app, 'old')
})
afterEach(() => world.close())

function at(id: DeploymentId, stage: StageName): Promise<Deployment> {
  return eventually(async () => {
    const found = await world.find(id)
    if (found.stage !== stage) throw new Error(`${id} is at ${found.stage}, ${found.status}: ${found.statusReason}`)
    return found
  })
}

async function ownInstance(id: DeploymentId): Promise<InstanceId> {
  const found = (await world.instances(app)).find((instance) => instance.deploymentId === id)
  if (found === undefined) throw new Error(`no instance of ${id}`)
  return found.id
}

async function baking(ref = 'new', changes: ConfigChanges = LONG): Promise<Deployment> {
  world.commit(ref, changes)
  const { id } = await world.deploy(app, ref)
  return at(id, 'bake')
}

async function expectSwappedBack(id: DeploymentId, reason: string): Promise<void> {
  const ended = await world.settled(id)
  expect(ended).toMatchObject({ status: 'failed', verdict: 'failed', error: { code: 'BAKE_FAILED', stage: 'bake' } })
  expect(ended.statusReason).toContain(reason)
  expect(await world.find(old.id)).toMatchObject({ status: 'running', settled: true, replacedBy: null })
  const events = await world.events()
  const back = events.find((event) => event.type === 'deployment.swapped_back')
  expect(back).toMatchObject({ deploymentId: id, data: { to: old.id } })
  const ofOld = events.filter((event) => event.deploymentId === old.id && event.type.startsWith('deployment.'))
  expect(ofOld.at(-1)?.type).toBe('deployment.running')
  await expectSound(world)
}

describe('trouble while it bakes: the engine swaps back by itself', () => {
  test('an instance that exits', async () => {
    const { id } = await baking()
    await world.runtime.crash(await ownInstance(id), 7)
    await expectSwappedBack(id, 'exit code 7')
  })

  test('a burst of server errors, but not a few among many answers', async () => {
    const { id } = await baking()
    world.edge.setTraffic(app.id, { requests: 100, serverErrors: 20 })
    world.edge.setTraffic(app.id, { requests: 200, serverErrors: 60, failures: 40 })
    await expectSwappedBack(id, '100 of 200 requests')
  })

  test('a health check that keeps failing', async () => {
    const { id } = await baking('new', { ...LONG, run: { healthCheck: HEALTH } })
    world.unready.add(id)
    await expectSwappedBack(id, 'failed its health check')
  })

  test('an instance that died during a drain that took longer than the bake', async () => {
    world.commit('new', { deploy: { bakeMs: 30 } })
    const { id } = await world.deploy(app, 'new')
    const gate = world.gate((step) => step.name === 'edge.drain' && step.side === 'after')
    await gate.reached
    await world.runtime.crash(await ownInstance(id), 7)
    await new Promise((resolve) => setTimeout(resolve, 40))
    gate.open()
    await expectSwappedBack(id, 'exit code 7')
  })

  test('a warm instance that died meanwhile is woken, and judged by the check of its own release', async () => {
    const { id } = await baking()
    // The check of the new release is one that the old version can't pass.
    await world.database.query(
      `update deployments set facts = jsonb_set(facts, '{config,deploy,readinessCheck,probe}', '{"kind":"tcp","port":1}') where id = $1`,
      [id],
    )
    await world.runtime.crash(await ownInstance(old.id), 1)
    await world.runtime.crash(await ownInstance(id), 7)
    await expectSwappedBack(id, 'exit code 7')
  })

  test('the edge swapped back but its reply was lost', async () => {
    const { id } = await baking()
    world.edge.fail('swap', 'lose-reply', 1)
    await world.runtime.crash(await ownInstance(id), 7)
    await expectSwappedBack(id, 'exit code 7')
    expect((await world.route(app))?.generation).toBe(3)
  })
})

describe('what must not swap back', () => {
  test.each([
    ['autoRollback: false in the configuration', { deploy: { bakeMs: 60_000, autoRollback: false } }, {}],
    ['autoRollback: false for this deployment', LONG, { autoRollback: false }],
    ['bake: 0', { deploy: { bakeMs: 0 } }, {}],
  ] as const)('%s: it settles at once and stays', async (_, changes, options) => {
    world.commit('new', changes)
    const ended = await world.settled((await world.deploy(app, 'new', options)).id)
    expect(ended.status).toBe('running')
    expect((await world.events(ended.id)).some((event) => event.type === 'stage.skipped' && event.data.stage === 'bake')).toBe(true)
    await expectSound(world)
  })

  test('a newer swap ends the bake: the one in between is superseded, and the newest goes back to it', async () => {
    const between = await baking('between')
    const newest = await baking('newest')
    expect(await world.find(between.id)).toMatchObject({ status: 'superseded', settled: true, replacedBy: newest.id })
    await world.runtime.crash(await ownInstance(newest.id), 7)
    expect((await world.settled(newest.id)).status).toBe('failed')
    expect((await world.find(between.id)).status).toBe('running')
    // What the one in between had kept warm is nobody's way back any more.
    expect((await world.instances(app)).map((instance) => [instance.deploymentId, instance.state]).sort()).toEqual(
      [
        [old.id, 'standby'],
        [between.id, 'serving'],
      ].sort(),
    )
    await expectSound(world)
  })

  test('a swap-back that races a newer swap: one of the two, never both', async () => {
    const between = await baking('between')
    world.commit('newest', { deploy: { bakeMs: 0 } })
    const newest = await world.deploy(app, 'newest')
    const gate: Gate = world.gate((step) => step.name === 'edge.swap' && step.side === 'before')
    await gate.reached
    await world.runtime.crash(await ownInstance(between.id), 7)
    gate.open()
    await world.settled(newest.id)
    await world.settled(between.id)
    expect((await world.find(newest.id)).status).toBe('running')
    await expectSound(world)
  })

  test('nothing left to go back to: it stays live, warns, and is the health monitor’s from then on', async () => {
    const { id } = await baking()
    world.hooks.push((step) => {
      if (step.name === 'runtime.start' && step.side === 'before') throw new ShiplockError('LAUNCH_FAILED', 'it does not start any more')
    })
    await world.runtime.crash(await ownInstance(old.id), 1)
    await world.runtime.crash(await ownInstance(id), 7)
    const ended = await world.settled(id)
    expect(ended).toMatchObject({ status: 'running', verdict: null, error: null })
    expect(ended.facts.warnings.join()).toContain('no earlier version left to swap back to')
    expect((await world.events(id)).filter((event) => event.terminal)).toHaveLength(1)
  })
})

test('a route that refuses the way back for good: the new version stays live and says why', async () => {
  const { id } = await baking()
  world.hooks.push((step) => {
    if (step.name === 'edge.swap' && step.side === 'before') throw new ShiplockError('EDGE_REFUSED', 'the host is taken')
  })
  await world.runtime.crash(await ownInstance(id), 7)
  const ended = await world.settled(id)
  expect(ended).toMatchObject({ status: 'running', verdict: null, error: null })
  expect(ended.facts.warnings.join()).toContain('could not be brought back: the host is taken')
})

describe('temporaryShutdown', () => {
  test('holds requests, stops the old version first, and tells the gap', async () => {
    world.commit('new', { deploy: { temporaryShutdown: true } })
    const seen: string[] = []
    world.hooks.push(({ name, side }) => {
      if (side === 'after' && ['edge.hold', 'edge.drain', 'runtime.stop', 'runtime.start', 'edge.swap'].includes(name)) seen.push(name)
    })
    const ended = await world.live(app, 'new')
    expect(seen.slice(0, 5)).toEqual(['edge.hold', 'edge.drain', 'runtime.stop', 'runtime.start', 'edge.swap'])
    expect(ended.facts.receipt?.gapMs).toBeGreaterThanOrEqual(0)
    await expectSound(world)
  })

  test('I1: undone, the old version is judged by its own check, not by the one that failed', async () => {
    world.commit('new', {
      deploy: { temporaryShutdown: true },
      readiness: { probe: { kind: 'tcp', port: 1 }, failureTimeoutMs: 30 },
    })
    const ended = await world.settled((await world.deploy(app, 'new')).id)
    expect(ended).toMatchObject({ status: 'failed', error: { code: 'NOT_READY' } })
    await expectSound(world)
  })
})

describe('rollback', () => {
  const releaseOf = async (id: DeploymentId) => {
    const { releaseId } = await world.find(id)
    if (releaseId === null) throw new Error('no release')
    return releaseId
  }
  const startsOf = (id: InstanceId) => world.host.instances.get(id)?.starts

  test('right after a deployment takes the warm instances as they run', async () => {
    const warm = await ownInstance(old.id)
    const { id } = await baking()
    const back = await world.rollback(app, await releaseOf(old.id))
    expect((await world.settled(back.id)).status).toBe('running')
    expect(await world.find(id)).toMatchObject({ status: 'rolled_back', replacedBy: back.id })
    expect(startsOf(warm)).toBe(1)
    expect((await world.route(app))?.targets.map((known) => known.instanceId)).toEqual([warm])
    await expectSound(world)
  })

  test('later starts the standby again', async () => {
    const standby = await ownInstance(old.id)
    world.commit('new')
    await world.live(app, 'new')
    const back = await world.rollback(app, await releaseOf(old.id))
    expect((await world.settled(back.id)).status).toBe('running')
    expect(startsOf(standby)).toBe(2)
    await expectSound(world)
  })

  test('while the old version still drains', async () => {
    const warm = await ownInstance(old.id)
    world.commit('new')
    const { id } = await world.deploy(app, 'new')
    const gate = world.gate((step) => step.name === 'edge.drain' && step.side === 'before')
    await gate.reached
    const back = await world.rollback(app, await releaseOf(old.id))
    await eventually(async () => (await world.find(back.id)).status === 'running')
    gate.open()
    await world.settled(back.id)
    expect((await world.find(id)).status).toBe('rolled_back')
    expect((await world.route(app))?.targets.map((known) => known.instanceId)).toEqual([warm])
    await expectSound(world)
  })

  test('racing the retirement of what it adopts: the instance that serves is not the one that is stopped', async () => {
    world.commit('new')
    const { id } = await world.deploy(app, 'new')
    const gate = world.gate((step) => step.name === 'runtime.stop' && step.side === 'before')
    await gate.reached
    const back = await world.rollback(app, await releaseOf(old.id))
    await eventually(async () => (await world.find(back.id)).status === 'running')
    gate.open()
    await Promise.all([world.settled(back.id), world.settled(id)])
    await expectSound(world)
  })

  test('that fails puts back what it adopted, and the bake can still swap back to it', async () => {
    const { id } = await baking()
    const back = await world.rollback(app, await releaseOf(old.id))
    // The warm instance runs on as it was started.
    world.unready.add(old.id)
    expect((await world.settled(back.id)).status).toBe('failed')
    world.unready.delete(old.id)
    expect((await world.instances(app)).find((instance) => instance.deploymentId === old.id)?.state).toBe('standby')
    await world.runtime.crash(await ownInstance(id), 7)
    await expectSwappedBack(id, 'exit code 7')
  })

  test('I7: restores artifact, configuration and variables as they were sealed; `current` takes those of today', async () => {
    world.commit('v2', { run: { env: { LEVEL: 'two' } } })
    const two = await world.live(app, 'v2')
    world.commit('v3', { run: { env: { LEVEL: 'three' } } })
    await world.live(app, 'v3')
    await world.database.query('update instances set state = $1 where state = $2', ['removed', 'standby'])
    await world.database.query(`insert into variables (project_id, name, sealed_value) select id, 'ADDED', $1 from projects`, [
      world.sealer.seal('later'),
    ])
    const sealed = await world.settled((await world.rollback(app, await releaseOf(two.id))).id)
    const envOf = async (id: DeploymentId) => world.host.instances.get(await ownInstance(id))?.spec
    const restored = await envOf(sealed.id)
    expect(restored?.env).toMatchObject({ LEVEL: 'two', SHIPLOCK_RELEASE: 'v2', SHIPLOCK_DEPLOYMENT: sealed.id })
    expect(restored?.env.ADDED).toBeUndefined()
    expect(restored?.artifact).toEqual(two.facts.artifact)
    const current = await world.settled((await world.rollback(app, await releaseOf(old.id), { variables: 'current' })).id)
    expect((await envOf(current.id))?.env).toMatchObject({ ADDED: 'later' })
  })
})
