import { afterEach, beforeEach, expect, test } from 'vitest'
import { reap } from '../../src/engine/reaper.ts'
import { reconcile } from '../../src/engine/reconciler.ts'
import { Remover } from '../../src/engine/remover.ts'
import { Scaler } from '../../src/engine/scaler.ts'
import { getServiceEnvironment, lockServiceEnvironment, type ServiceEnvironment } from '../../src/store/sql/catalog.ts'
import { deleteProject } from '../../src/store/sql/projects.ts'
import { beginEnvironmentRemoval, beginRemoval } from '../../src/store/sql/removals.ts'
import { setWantedInstances } from '../../src/store/sql/upkeep.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { expectSound } from '../support/engine-checks.ts'
import type { Step, TestServer } from '../support/engine-server.ts'
import { createWorld, type World } from '../support/engine-world.ts'
import { eventually } from '../support/eventually.ts'

let world: World
let server: TestServer
let app: ServiceEnvironment
let other: ServiceEnvironment
const removers: Remover[] = []

async function prepare(test?: TestDatabase): Promise<void> {
  world = await createWorld(test === undefined ? {} : { test })
  server = await world.server().start()
  app = await world.service()
  other = await world.service('other')
  world.commit('one')
  world.commit('two')
  await world.live(app, 'one')
  // What it replaces stays as standby.
  await world.live(app, 'two')
  await world.live(other, 'one')
}
beforeEach(() => prepare())
afterEach(() => end())

async function end(): Promise<void> {
  await Promise.all(removers.splice(0).map((remover) => remover.stop()))
  await world.close()
}

async function remover(of: TestServer): Promise<Remover> {
  const made = new Remover(of.engine)
  removers.push(made)
  await made.start()
  return made
}
const ask = (target: ServiceEnvironment, isCanceling = false) =>
  world.database.transaction(async (tx) => beginRemoval(tx, await lockServiceEnvironment(tx, target.id), { by: 'ada', isCanceling }))
const askEnvironment = (target: ServiceEnvironment, isCanceling = false) =>
  world.database.transaction((tx) => beginEnvironmentRemoval(tx, target.environmentId, { by: 'ada', isCanceling }))
const isGone = (target: ServiceEnvironment) =>
  eventually(async () => (await getServiceEnvironment(world.database, target.id)) === null, { withinMs: 20_000 })

async function expectNothingLeft(target: ServiceEnvironment): Promise<void> {
  expect(await world.route(target)).toBeUndefined()
  expect([...world.host.instances.values()].filter(({ spec }) => spec.labels.serviceEnvironmentId === target.id)).toEqual([])
  for (const table of ['instances', 'releases', 'deployments', 'branch_heads']) {
    expect(await world.database.query(`select 1 from ${table} where service_environment_id = $1`, [target.id])).toEqual([])
  }
}

test('a service leaves the edge, is drained, then stopped; standby goes too, its rows with it, and the other one serves on', async () => {
  const order: string[] = []
  world.hooks.push(({ name, side }) => {
    if (side === 'before' && /^(?:edge\.(?:remove|drain)|runtime\.(?:stop|remove))$/.test(name)) order.push(name)
  })
  await ask(app)
  await ask(app)
  await remover(server)
  await isGone(app)
  await expectNothingLeft(app)
  expect(order.slice(0, 2)).toEqual(['edge.remove', 'edge.drain'])
  expect(await world.route(other)).toMatchObject({ targets: [{}] })
  await expectSound(world)
  const types = (await world.events()).filter((event) => event.serviceEnvironmentId === app.id).map((event) => event.type)
  expect(types.filter((type) => type.startsWith('service.remov'))).toEqual(['service.removing', 'service.removed'])
  // In no environment any more, and nothing speaks for its return.
  expect(await world.database.query('select name from services order by name')).toEqual([{ name: 'other' }])
})

test('a deployment under way keeps it from being removed, unless it is canceled with it; nothing new is queued meanwhile', async () => {
  world.commit('three')
  const gate = world.gate(({ name }) => name === 'builder.build')
  const { id } = await world.deploy(app, 'three')
  await gate.reached
  const waiting = await world.deploy(app, 'two')
  await expect(ask(app)).rejects.toMatchObject({ code: 'CONFLICT', message: expect.stringContaining(id) })
  await ask(app, true)
  await expect(world.deploy(app, 'two')).rejects.toMatchObject({ code: 'CONFLICT', message: expect.stringContaining('being removed') })
  expect(await world.find(waiting.id)).toMatchObject({ status: 'canceled', settled: true })
  // What serves goes on until its end begins.
  expect(await world.route(app)).toMatchObject({ targets: [{}] })
  gate.open()
  await remover(server)
  await isGone(app)
  await expectNothingLeft(app)
  expect((await world.events(id)).at(-1)).toMatchObject({ type: 'deployment.canceled', terminal: true })
})

test('an environment goes with all its services, and then the project can be deleted', async () => {
  await expect(world.database.transaction((tx) => deleteProject(tx, 'shop'))).rejects.toMatchObject({ code: 'CONFLICT' })
  await askEnvironment(app)
  await expect(world.service('third')).rejects.toMatchObject({ code: 'CONFLICT', message: expect.stringContaining('being removed') })
  await remover(server)
  await eventually(async () => (await world.database.query('select 1 from environments')).length === 0, { withinMs: 20_000 })
  await expectNothingLeft(app)
  await expectNothingLeft(other)
  expect(world.running()).toEqual([])
  expect(await world.database.transaction((tx) => deleteProject(tx, 'shop'))).toBe(true)
})

test('I2: a further instance that is just being started does not come back to the route', async () => {
  const scaler = new Scaler(server.engine)
  await world.database.query('select 1')
  await setWantedInstances(world.database, app.id, 2)
  const gate = world.gate(({ name }) => name === 'runtime.start')
  await scaler.start()
  await gate.reached
  await ask(app)
  await remover(server)
  await isGone(app)
  gate.open()
  await scaler.stop()
  await reap(server.engine)
  await reconcile(server.engine)
  await expectNothingLeft(app)
  await expectSound(world)
})

test('I6: an edge that is not there holds the removal up, and nothing is stopped before the route is gone', async () => {
  world.edge.fail('remove', 'refuse', 2)
  const stopped: Step[] = []
  world.hooks.push((step) => void (step.name === 'runtime.stop' && stopped.push(step)))
  await ask(app)
  const works = await remover(server)
  await eventually(() => world.edge.calls.some(({ call }) => call === 'remove'))
  expect(stopped).toEqual([])
  expect(await world.route(app)).toMatchObject({ targets: [{}] })
  const poke = setInterval(() => works.wake(), 100)
  await isGone(app)
  clearInterval(poke)
  await expectNothingLeft(app)
})

test('I5: killed at any of its steps, another server ends it, and the other service never notices', async () => {
  const shared = await freshDatabase()
  try {
    await end()
    const seen: string[] = []
    let steps = 1
    for (let nth = 0; nth < steps; nth++) {
      await prepare(shared)
      const doomed = await world.server(server.engine.owner.serverId).register()
      await askEnvironment(app)
      let count = 0
      world.hooks.push((step) => {
        if (step.server !== doomed || step.name === 'db.begin' || (step.name !== 'db.commit' && step.side === 'before')) return
        if (nth === 0) seen.push(`${step.side} ${step.name}`)
        // The first time it is only counted.
        else if (++count === nth) doomed.kill()
      })
      const first = await remover(doomed)
      const over = async () => doomed.isDead || (await world.database.query('select 1 from environments')).length === 0
      await eventually(over, { withinMs: 20_000 })
      await first.stop()
      if (nth === 0) steps = seen.length + 1
      const next = await world.server(server.engine.owner.serverId).register()
      await remover(next)
      await eventually(async () => (await world.database.query('select 1 from environments')).length === 0, { withinMs: 20_000 })
      await reap(next.engine)
      expect(world.running(), `killed ${seen[nth - 1]}`).toEqual([])
      await expectNothingLeft(app)
      await expectNothingLeft(other)
      expect(world.violations).toEqual([])
      await end()
    }
    expect(seen).toContain('before db.commit')
    expect(seen).toContain('after edge.remove')
    expect(steps).toBeGreaterThan(10)
  } finally {
    await shared.drop()
    await prepare()
  }
}, 180_000)
