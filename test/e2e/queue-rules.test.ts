import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Deployment } from '../../src/domain/deployment.ts'
import { lockServiceEnvironment, type ServiceEnvironment } from '../../src/store/sql/catalog.ts'
import { enqueueDeployment } from '../../src/store/sql/deployments.ts'
import { freeze, unfreeze } from '../../src/store/sql/freezes.ts'
import { holdService, releaseHold } from '../../src/store/sql/holds.ts'
import { listQueue } from '../../src/store/sql/queue-view.ts'
import { expectSound } from '../support/engine-checks.ts'
import { testConfig } from '../support/engine-config.ts'
import { createWorld, type World } from '../support/engine-world.ts'
import { eventually } from '../support/eventually.ts'
import { Seeded } from '../support/seeded.ts'

const SLOTS = 2
let world: World
let app: ServiceEnvironment
beforeEach(async () => {
  world = await createWorld({ slots: SLOTS })
  app = await world.service()
})
afterEach(() => world.close())

/** A commit whose configuration says `trigger.queue: latest`, on that branch. */
function commit(branch: string, queue: 'every' | 'latest' = 'every'): void {
  const config = testConfig({ deploy: { bakeMs: 0 } })
  world.repository.set(branch, { config: { ...config, trigger: { ...config.trigger, queue } } })
}

const began = async ({ id }: Deployment) => (await world.events(id)).some(({ type }) => type === 'deployment.started')
const causeOf = async ({ id }: Deployment) => (await listQueue(world.database, SLOTS)).find((entry) => entry.id === id)?.wait?.cause ?? null
const scope = () => ({ projectId: app.projectId, environmentId: app.environmentId })
const freezeApp = () => world.database.transaction((tx) => freeze(tx, scope(), { reason: 'holidays', until: null, by: 'ada' }))

describe('latest', () => {
  test('I11: a push takes the place of the one that waits, in one transaction, and the record of both says so', async () => {
    commit('main', 'latest')
    await world.server().start()
    await world.live(app, 'main')
    const gate = world.gate((step) => step.name === 'builder.build' && step.side === 'before')
    await world.deploy(app, 'main', { rebuild: true })
    await gate.reached
    const [first, second] = [await world.push(app, 'main'), await world.push(app, 'main')]
    const absorbed = await world.find(first.id)
    expect(absorbed).toMatchObject({ status: 'superseded', settled: true, replacedBy: second.id, startedAt: null })
    expect(absorbed.statusReason).toContain(`${second.id} took its place: a newer push to main`)
    const [told] = (await world.events(first.id)).slice(-1)
    expect(told).toMatchObject({ type: 'deployment.absorbed', terminal: true, data: { by: second.id } })
    expect((await world.events(second.id))[0]).toMatchObject({ type: 'deployment.queued', data: { absorbed: [first.id] } })
    gate.open()
    expect(await world.settled(second.id)).toMatchObject({ status: 'running' })
    await expectSound(world)
  })

  test('an enqueue that is taken back absorbs nothing', async () => {
    commit('main', 'latest')
    const server = world.server()
    await server.start()
    await world.live(app, 'main')
    await server.stop()
    const first = await world.push(app, 'main')
    world.database.query('select 1')
    const failing = world.database.transaction(async (tx) => {
      const target = await lockServiceEnvironment(tx, app.id)
      const { source, trigger, options } = first
      await enqueueDeployment(tx, target, { kind: 'deploy', source, trigger, options, rollbackTo: null })
      throw new Error('taken back')
    })
    await expect(failing).rejects.toThrow('taken back')
    expect(await world.find(first.id)).toMatchObject({ status: 'pending', replacedBy: null })
    await world.server().start()
    await world.settled(first.id)
    await expectSound(world)
  })

  test('pushes, claims and cancels at once: each push runs or is absorbed by a newer one, never both (seeded)', async () => {
    const random = new Seeded()
    console.log(`SHIPLOCK_TEST_SEED=${random.seed}`)
    for (const branch of ['main', 'next']) commit(branch, 'latest')
    await Promise.all([world.server(), world.server()].map((server) => server.start()))
    await world.live(app, 'main')
    const made: Deployment[] = []
    for (let n = 0; n < 40; n++) {
      const branch = random.pick(['main', 'next'])
      made.push(random.below(6) === 0 ? await world.deploy(app, branch) : await world.push(app, branch))
      if (random.below(8) === 0) await world.cancel(made[random.below(made.length)]?.id ?? made[0]?.id ?? ('' as never)).catch(() => {})
    }
    await eventually(async () => (await world.database.query('select 1 from deployments where not settled')).length === 0, {
      withinMs: 60_000,
    })
    for (const deployment of made) {
      const types = (await world.events(deployment.id)).map(({ type }) => type)
      const isAbsorbed = types.includes('deployment.absorbed')
      expect(isAbsorbed && types.includes('deployment.started')).toBe(false)
      expect(isAbsorbed && deployment.trigger.kind !== 'webhook').toBe(false)
      if (!isAbsorbed) continue
      const { replacedBy } = await world.find(deployment.id)
      expect(made.findIndex(({ id }) => id === replacedBy)).toBeGreaterThan(made.indexOf(deployment))
    }
    await expectSound(world)
  })
})

describe('a freeze', () => {
  test('lets what waits wait, says so, and lets it go when it is lifted', async () => {
    commit('main')
    await freezeApp()
    const [pushed, asked] = [await world.push(app, 'main'), await world.deploy(await world.service('other', 'elsewhere'), 'main')]
    await world.server().start()
    await world.settled(asked.id)
    expect(await world.find(pushed.id)).toMatchObject({ status: 'pending' })
    expect(await causeOf(pushed)).toBe('freeze')
    await world.database.transaction((tx) => unfreeze(tx, scope(), 'ada'))
    expect(await world.settled(pushed.id)).toMatchObject({ status: 'running' })
    await expectSound(world)
  })

  test('does not hold back what overrides it; older ones that it keeps back are absorbed, so that their code does not come after', async () => {
    commit('main')
    const early = await world.deploy(app, 'main')
    await freezeApp()
    const pushed = await world.push(app, 'main')
    await world.server().start()
    const hotfix = await world.deploy(app, 'main', { overrideFreeze: 'the shop is down' })
    expect(await world.settled(hotfix.id)).toMatchObject({ status: 'running' })
    for (const older of [early, pushed]) expect(await world.find(older.id)).toMatchObject({ status: 'superseded', replacedBy: hotfix.id })
    expect((await world.events(hotfix.id))[0]?.data).toMatchObject({ overrideFreeze: 'the shop is down' })
    await expectSound(world)
  })

  test('does not hold back a rollback', async () => {
    commit('main')
    await world.server().start()
    const first = await world.live(app, 'main')
    await world.live(app, 'main')
    await freezeApp()
    if (first.releaseId === null) throw new Error('no release')
    const back = await world.rollback(app, first.releaseId)
    expect(await world.settled(back.id)).toMatchObject({ status: 'running' })
  })

  test('ends by itself, and what waited begins within a poll', async () => {
    commit('main')
    const [soon] = await world.database.query<{ at: string }>(`select now() + interval '700 milliseconds' as at`)
    await world.database.transaction((tx) => freeze(tx, scope(), { reason: 'r', until: soon?.at ?? null, by: 'ada' }))
    await world.server().start()
    const pushed = await world.push(app, 'main')
    expect(await causeOf(pushed)).toBe('freeze')
    expect(await world.settled(pushed.id)).toMatchObject({ status: 'running' })
  })
})

describe('a hold', () => {
  test('lets pushes wait and everybody else go on', async () => {
    commit('main')
    await world.database.transaction((tx) => holdService(tx, app, 'rolled back to v3', 'ada'))
    const pushed = await world.push(app, 'main')
    await world.server().start()
    const asked = await world.deploy(app, 'main')
    await world.settled(asked.id)
    expect(await began(pushed)).toBe(false)
    expect(await causeOf(pushed)).toBe('hold')
    await world.database.transaction((tx) => releaseHold(tx, app, 'ada'))
    expect(await world.settled(pushed.id)).toMatchObject({ status: 'running' })
    await expectSound(world)
  })
})

describe("a project's limit", () => {
  test('bounds its deployments in progress, and leaves the free slot to others', async () => {
    commit('main')
    await world.database.query(`update projects set limits = '{"concurrentBuilds": 1}' where id = $1`, [app.projectId])
    const gate = world.gate((step) => step.name === 'builder.build' && step.side === 'before')
    await world.server().start()
    const first = await world.deploy(app, 'main')
    await gate.reached
    const second = await world.deploy(await world.service('second'), 'main')
    const foreign = await world.deploy(await world.service('app', 'elsewhere'), 'main')
    await world.settled(foreign.id)
    expect(await began(second)).toBe(false)
    expect(await causeOf(second)).toBe('project-limit')
    gate.open()
    await Promise.all([first, second].map(({ id }) => world.settled(id)))
    await expectSound(world)
  })
})
