import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { randomId } from '../../src/core/random-id.ts'
import type { DeploymentId, ServerId } from '../../src/domain/ids.ts'
import { claim } from '../../src/engine/worker.ts'
import { isConstraintViolation } from '../../src/store/database.ts'
import { claimDeployment } from '../../src/store/sql/claim.ts'
import { listQueue } from '../../src/store/sql/queue-view.ts'
import { expectSound } from '../support/engine-checks.ts'
import { createWorld, type World } from '../support/engine-world.ts'
import { eventually } from '../support/eventually.ts'

const SLOTS = 2
let world: World
beforeEach(async () => {
  world = await createWorld({ slots: SLOTS })
})
afterEach(() => world.close())

interface Span {
  readonly id: DeploymentId
  readonly service: string
  readonly position: number
  readonly begun: number
  readonly ended: number
}

/** From the claim until the slot was free again, by event number: number order is commit order. */
async function spansInProgress(): Promise<Span[]> {
  return world.database.query<Span>(
    `select d.id, d.service_environment_id as service, d.position,
            (select min(sequence) from events e where e.deployment_id = d.id and e.type = 'deployment.started') as begun,
            (select min(sequence) from events e where e.deployment_id = d.id and e.type in ('deployment.running', 'deployment.failed', 'deployment.canceled')) as ended
       from deployments d order by d.position`,
  )
}

describe('I4: the queue', () => {
  test('I13: a free slot goes to the project with the fewest in progress, however long another one’s queue is', async () => {
    const many = await Promise.all(['a', 'b', 'c', 'd', 'e'].map((name) => world.service(name, 'long')))
    world.commit('one')
    for (const target of many) await world.deploy(target, 'one')
    const late = await world.deploy(await world.service('web', 'late'), 'one')
    const places = await listQueue(world.database, SLOTS)
    expect(places.map(({ project, place }) => `${place} ${project}`).slice(0, 3)).toEqual(['1 long', '2 late', '3 long'])
    const claimed = []
    for (let slot = 0; slot < SLOTS; slot++) {
      claimed.push(await world.database.transaction((tx) => claimDeployment(tx, { slots: SLOTS, timeoutMs: 60_000 })))
    }
    expect(claimed[1]?.id).toBe(late.id)
    expect(await listQueue(world.database, SLOTS, { project: 'long', environment: null })).toHaveLength(5)
  })

  test('three servers, four services: never two of one service at once, never more than the cap, in order, each exactly once', async () => {
    const targets = await Promise.all(['a', 'b', 'c', 'd'].map((name) => world.service(name)))
    const refs: string[] = []
    for (let round = 0; round < 5; round++) {
      for (const [nth, target] of targets.entries()) {
        const ref = `${target.service}-${round}`
        world.commit(ref, { deploy: { bakeMs: 0 } }, (round + nth) % 5 === 4 ? { buildFails: 'it does not compile' } : {})
        refs.push(ref)
        await world.deploy(target, ref)
      }
    }
    // Builds take more or less long, each as it happens.
    world.hooks.push(async (step) => {
      if (step.name === 'builder.build' && step.side === 'before') await new Promise((resolve) => setTimeout(resolve, Math.random() * 30))
    })
    await Promise.all([world.server(), world.server(), world.server()].map((server) => server.start()))
    await eventually(async () => (await world.database.query('select 1 from deployments where not settled')).length === 0, {
      withinMs: 60_000,
    })

    const spans = await spansInProgress()
    expect(spans).toHaveLength(refs.length)
    for (const span of spans) {
      const beside = spans.filter((other) => other.begun < span.begun && span.begun < other.ended)
      expect(beside.length).toBeLessThan(SLOTS)
      expect(beside.filter((other) => other.service === span.service)).toEqual([])
    }
    for (const target of targets) {
      const own = spans.filter((span) => span.service === target.id)
      expect(own.map((span) => span.begun)).toEqual(own.map((span) => span.begun).sort((a, b) => a - b))
    }
    expect([...world.builder.builds].sort()).toEqual([...refs].sort())
    const runs = await world.database.query<{ count: number }>('select count(*) as count from stage_runs group by deployment_id, stage')
    expect(new Set(runs.map((row) => row.count))).toEqual(new Set([1]))
    await expectSound(world)
  })

  test('a server that would take a slot that another has just taken loses to the index, and goes on', async () => {
    const [one, other] = [await world.service('one'), await world.service('other')]
    world.commit('x')
    const first = await world.deploy(one, 'x')
    const second = await world.deploy(other, 'x')
    const server = await world.server().register()
    // A server that takes slot 1 without the lock that serialises claims, as one of another version might.
    const rogue = world.server()
    await rogue.register()
    const taken = world.database.transaction(async (tx) => {
      await tx.query(
        `update deployments set slot = 1, status = 'cloning', stage = 'fetch', started_at = now(), deadline_at = now() + interval '1 minute' where id = $1`,
        [second.id],
      )
      const claiming = server.engine.database.transaction((inner) => claim(server.engine, inner)).catch((error: unknown) => error)
      await eventually(async () => {
        const [row] = await world.database.query<{ count: number }>(`select count(*) as count from pg_locks where not granted`)
        return (row?.count ?? 0) > 0
      })
      return { claiming }
    })
    const { claiming } = await taken
    expect(isConstraintViolation(await claiming, 'one_deployment_per_slot')).toBe(true)
    expect((await world.find(first.id)).status).toBe('pending')
    // What lost its lease, or never had one, is rescued; what lost the race is claimed.
    await server.start()
    await Promise.all([world.settled(first.id), world.settled(second.id)])
    await expectSound(world)
  })

  test('what waits says for what', async () => {
    const [one, other, third] = [await world.service('one'), await world.service('other'), await world.service('third')]
    world.commit('x')
    const gates = [0, 1].map(() => world.gate((step) => step.name === 'builder.build' && step.side === 'before'))
    const running = [await world.deploy(one, 'x'), await world.deploy(other, 'x')]
    await world.server().start()
    await Promise.all(gates.map((gate) => gate.reached))
    const [behind, last, crowded] = [await world.deploy(one, 'x'), await world.deploy(one, 'x'), await world.deploy(third, 'x')]
    const queue = new Map((await listQueue(world.database, SLOTS)).map((entry) => [entry.id, entry]))
    expect(queue.get(running[0]?.id as DeploymentId)).toMatchObject({ place: null, wait: null, stage: 'build' })
    expect(queue.get(behind.id)).toMatchObject({
      place: 1,
      wait: { cause: 'previous', text: expect.stringContaining(running[0]?.id ?? '') },
    })
    expect(queue.get(last.id)?.place).toBe(2)
    expect(queue.get(crowded.id)).toMatchObject({ place: 3, wait: { cause: 'slot', text: 'waits for a free slot: 2 of 2 in progress' } })
    for (const gate of gates) gate.open()
    await Promise.all([behind, last, crowded].map((deployment) => world.settled(deployment.id)))
    await expectSound(world)
  })

  test('a cancel that is taken back does not let a later one overtake', async () => {
    const app = await world.service()
    world.commit('x', { deploy: { bakeMs: 0 } })
    const first = await world.deploy(app, 'x')
    const second = await world.deploy(app, 'x')
    const server = await world.server(randomId<ServerId>('srv')).register()
    const undone = world.database.transaction(async (tx) => {
      await tx.query('select 1 from deployments where id = $1 for update', [first.id])
      const claiming = server.engine.database.transaction((inner) => claim(server.engine, inner))
      await eventually(async () => {
        const [row] = await world.database.query<{ count: number }>(`select count(*) as count from pg_locks where not granted`)
        return (row?.count ?? 0) > 0
      })
      throw Object.assign(new Error('the cancel is taken back'), { claiming })
    })
    const { claiming } = (await undone.catch((error: unknown) => error)) as { claiming: Promise<{ deploymentId: string }> }
    expect((await claiming).deploymentId).toBe(first.id)
    await world.expireLeases()
    await server.start()
    await world.settled(second.id)
    const [one, two] = await spansInProgress()
    expect(one?.ended).toBeLessThan(two?.begun ?? 0)
  })
})
