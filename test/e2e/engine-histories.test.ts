import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isShiplockError } from '../../src/core/errors.ts'
import type { DeploymentId, ReleaseId } from '../../src/domain/ids.ts'
import { reap } from '../../src/engine/reaper.ts'
import type { ServiceEnvironment } from '../../src/store/sql/catalog.ts'
import { appendEvents, listEvents } from '../../src/store/sql/events.ts'
import { freshDatabase } from '../support/database.ts'
import { expectSound } from '../support/engine-checks.ts'
import type { TestServer } from '../support/engine-server.ts'
import { createWorld, type World } from '../support/engine-world.ts'
import { eventually } from '../support/eventually.ts'

type Act =
  | { readonly kind: 'deploy'; readonly ref: 'good' | 'better' | 'unbuildable' | 'shutdown'; readonly isReady: boolean }
  | { readonly kind: 'rollback'; readonly back: number; readonly variables: 'sealed' | 'current' }
  | { readonly kind: 'cancel' }
  | { readonly kind: 'crash' }
  | { readonly kind: 'cut' }
  | { readonly kind: 'kill' }
  | { readonly kind: 'settle' }

const act: fc.Arbitrary<Act> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('deploy' as const),
      ref: fc.constantFrom('good' as const, 'better' as const, 'unbuildable' as const, 'shutdown' as const),
      isReady: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('rollback' as const),
      back: fc.nat(3),
      variables: fc.constantFrom('sealed' as const, 'current' as const),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom('cancel' as const, 'crash' as const, 'cut' as const, 'kill' as const) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('settle' as const) }) },
)

interface State {
  readonly world: World
  readonly app: ServiceEnvironment
  server: TestServer
  readonly made: DeploymentId[]
}

async function perform(state: State, next: Act): Promise<void> {
  const { world, app, made } = state
  switch (next.kind) {
    case 'deploy': {
      const { id } = await world.deploy(app, next.ref)
      if (!next.isReady) world.unready.add(id)
      made.push(id)
      return
    }
    case 'rollback': {
      const kept = await world.database.query<{ id: ReleaseId }>('select id from releases where deleted_at is null order by number desc')
      const target = kept[next.back]
      if (target !== undefined) made.push((await world.rollback(app, target.id, { variables: next.variables })).id)
      return
    }
    case 'cancel': {
      const last = made.at(-1)
      if (last === undefined) return
      await world.cancel(last).catch((error: unknown) => {
        if (!isShiplockError(error, 'CANCEL_REFUSED')) throw error
      })
      return
    }
    case 'crash': {
      // Only what bakes: a settled one is the health monitor's, which does not run here.
      const [baking] = await world.database.query<{ id: never }>(
        `select i.id from instances i join deployments d on d.id = i.deployment_id where d.stage = 'bake' and not d.settled limit 1`,
      )
      if (baking !== undefined) await world.runtime.crash(baking.id, 7)
      return
    }
    case 'cut':
      return world.test.terminateBackends()
    case 'kill': {
      const { owner } = state.server.engine
      state.server.kill()
      state.server = await eventually(() => world.server(owner.serverId).start())
      return
    }
    case 'settle':
      return allSettled(state)
  }
}

async function allSettled({ world }: State): Promise<void> {
  await eventually(
    async () => {
      const open = await world.database.query('select id, status, stage, status_reason from deployments where not settled')
      if (open.length > 0) throw new Error(`still open: ${JSON.stringify(open)}`)
    },
    { withinMs: 30_000 },
  )
}

describe('any history of deployments, rollbacks, cancels, crashes, cut connections and killed servers', () => {
  test('ends settled and sound: I1, I2, I4, I5, I11', { timeout: 600_000 }, async () => {
    const database = await freshDatabase()
    try {
      await fc.assert(
        fc.asyncProperty(fc.array(act, { minLength: 3, maxLength: 14 }), async (history) => {
          const world = await createWorld({ test: database })
          try {
            const deploy = { bakeMs: 25 }
            world.commit('good', { deploy })
            world.commit('better', { deploy, run: { instances: 2 } })
            world.commit('unbuildable', { deploy }, { buildFails: 'it does not compile' })
            world.commit('shutdown', { deploy: { ...deploy, temporaryShutdown: true } })
            const state: State = { world, app: await world.service(), server: await world.server().start(), made: [] }
            for (const next of history) await eventually(() => perform(state, next))
            await allSettled(state)
            await eventually(() => reap(state.server.engine))
            await expectSound(world)
          } finally {
            await world.close()
          }
        }),
        { numRuns: 40 },
      )
    } finally {
      await database.drop()
    }
  })
})

describe('I11: the event log', () => {
  test('number order is commit order: a reader that goes on after the last number it saw misses nothing', async () => {
    const { database, drop } = await freshDatabase({ poolMax: 12 })
    try {
      const writers = 8
      const each = 40
      const write = async (writer: number) => {
        for (let nth = 0; nth < each; nth++) {
          await database.transaction(async (tx) => {
            await tx.query('select pg_sleep($1)', [Math.random() / 500])
            await appendEvents(tx, [
              {
                type: 'deployment.warning',
                message: `${writer}/${nth}`,
                projectId: null,
                environmentId: null,
                serviceId: null,
                serviceEnvironmentId: null,
                deploymentId: null,
                instanceId: null,
                data: {},
              },
            ])
            // Between drawing its number and the commit anything may take its time.
            if (nth % 5 === 0) await tx.query('select pg_sleep(0.003)')
          })
        }
      }
      const seen: string[] = []
      let after = 0
      let isOver = false
      const read = async () => {
        for (;;) {
          const wasOver = isOver
          const events = await listEvents(database, { after, limit: 7 })
          for (const event of events) {
            expect(event.sequence).toBeGreaterThan(after)
            after = event.sequence
            seen.push(event.message)
          }
          if (wasOver && events.length === 0) return
        }
      }
      const reading = read()
      await Promise.all(Array.from({ length: writers }, (_, writer) => write(writer)))
      isOver = true
      await reading
      expect(new Set(seen).size).toBe(writers * each)
      expect(seen).toHaveLength(writers * each)
      for (let writer = 0; writer < writers; writer++) {
        const own = seen.filter((message) => message.startsWith(`${writer}/`))
        expect(own).toEqual(Array.from({ length: each }, (_, nth) => `${writer}/${nth}`))
      }
    } finally {
      await drop()
    }
  })
})
