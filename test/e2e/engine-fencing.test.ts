import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { ServerId } from '../../src/domain/ids.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { expectSound } from '../support/engine-checks.ts'
import type { Step } from '../support/engine-server.ts'
import { createWorld, type World } from '../support/engine-world.ts'
import { eventually } from '../support/eventually.ts'

/** Everything that a stale owner could have changed. */
async function snapshot(world: World): Promise<string> {
  const tables = await Promise.all(
    ['deployments', 'instances', 'releases', 'service_environments', 'leases', 'stage_runs', 'events', 'log_lines'].map((table) =>
      world.database.query(`select t::text from ${table} t order by 1`),
    ),
  )
  const host = [...world.host.instances].map(([id, { status, starts }]) => ({ id, status, starts }))
  const route = (await world.edge.read()).map(({ targets, generation, held, hosts }) => ({ targets, generation, held, hosts }))
  return JSON.stringify({ tables, host, route, trees: [...world.artifacts.trees] }, null, 1)
}

const READS = ['runtime.inspect', 'edge.read', 'edge.traffic', 'edge.probe']

/** The workers' looks at an empty queue are no places of interest. */
function isPausable({ name, args }: Step): boolean {
  return name === 'db.commit' ? args.some((text) => String(text).includes('insert into events')) : !READS.includes(name)
}

/** A deployment over a live one; the server that works on it is paused at its nth step, as by SIGSTOP, if `nth` is given. */
async function play(test: TestDatabase, nth: number | null): Promise<{ steps: string[]; problem: string | null }> {
  const world = await createWorld({ test })
  let open = () => {}
  try {
    const app = await world.service()
    world.commit('old')
    world.commit('new', { deploy: { releaseCommand: 'migrate' } })
    const first = await world.server().start()
    await world.live(app, 'old')
    await first.stop()
    const { id } = await world.deploy(app, 'new')

    const steps: string[] = []
    const stale = world.server(first.engine.owner.serverId)
    let isReached = false
    const opened = new Promise<void>((resolve) => {
      open = resolve
    })
    world.hooks.push(async (step) => {
      if (step.server !== stale) return
      if (isPausable(step)) {
        steps.push(`${step.side} ${step.name}`)
        if (steps.length === nth) isReached = true
      }
      // The whole process stands still, whatever it was about to do.
      if (isReached) await opened
    })
    await stale.start()
    if (nth === null) {
      await world.settled(id)
      return { steps, problem: null }
    }
    await eventually(async () => isReached || (await world.find(id)).settled)
    if (!isReached) return { steps, problem: null }
    // What the paused one has locked is given up after a while by PostgreSQL itself; here at once.
    await world.database.query(
      `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and state = 'idle in transaction' and pid <> pg_backend_pid()`,
    )
    await world.expireLeases()
    const successor = await world.server('srv_successor' as ServerId).start()
    await eventually(
      async () => {
        successor.worker.look()
        return (await world.find(id)).settled
      },
      { withinMs: 20_000 },
    )
    await successor.worker.stop()
    const before = await snapshot(world)
    open()
    await stale.worker.stop()
    const after = await snapshot(world)
    expect(after).toBe(before)
    expect((await world.find(id)).status).toBe('running')
    await expectSound(world)
    return { steps, problem: null }
  } catch (error) {
    return { steps: [], problem: `${(error as Error).message}` }
  } finally {
    open()
    await world.close()
  }
}

describe('I6: a worker that was paused past its lease, while another one finished its deployment', () => {
  const tests: TestDatabase[] = []
  beforeAll(async () => {
    for (let lane = 0; lane < 3; lane++) tests.push(await freshDatabase())
  })
  afterAll(() => Promise.all(tests.map((test) => test.drop())))

  test('changes nothing when it goes on, wherever it was paused', { timeout: 600_000 }, async () => {
    const { steps } = await play(tests[0] as TestDatabase, null)
    expect(steps.length).toBeGreaterThan(30)
    const problems: string[] = []
    let next = 1
    await Promise.all(
      tests.map(async (database) => {
        while (next <= steps.length) {
          const nth = next++
          const { problem } = await play(database, nth)
          if (problem !== null) problems.push(`paused ${steps[nth - 1]} (step ${nth}): ${problem}`)
        }
      }),
    )
    expect(problems).toEqual([])
  })
})

const WAYS_INTO_THE_SWAP = [1, 2, 3]

test.each(WAYS_INTO_THE_SWAP)(
  'I6: a worker paused on the way into its swap (transaction %i) does not touch the route of a deployment that its successor has failed',
  async (nth) => {
    const world = await createWorld()
    let open = () => {}
    try {
      const app = await world.service()
      world.commit('old')
      const stale = await world.server().start()
      await world.live(app, 'old')
      world.commit('new')
      const { id } = await world.deploy(app, 'new')
      let isReached = false
      let begun = 0
      const opened = new Promise<void>((resolve) => {
        open = resolve
      })
      world.hooks.push(async (step) => {
        if (step.server !== stale) return
        if (step.name === 'db.begin' && (await world.find(id)).stage === 'swap') isReached ||= ++begun === nth
        if (isReached) await opened
      })
      // The last of them may already be beyond the swap.
      await eventually(async () => isReached || (await world.find(id)).settled)
      if (!isReached) return
      for (const instance of await world.instances(app)) if (instance.deploymentId === id) await world.runtime.crash(instance.id, 1)
      const successor = await world.server('srv_successor' as ServerId).start()
      await world.expireLeases()
      successor.worker.look()
      expect(await world.settled(id)).toMatchObject({ status: 'failed', stage: 'swap' })
      const before = await snapshot(world)
      const calls = world.edge.calls.filter(({ call }) => call === 'swap').length
      open()
      await stale.worker.stop()
      expect(world.edge.calls.filter(({ call }) => call === 'swap')).toHaveLength(calls)
      expect(await snapshot(world)).toBe(before)
      await expectSound(world)
    } finally {
      open()
      await world.close()
    }
  },
)
