import { describe, expect, test } from 'vitest'
import { silentLogger } from '../../src/core/log.ts'
import { reap } from '../../src/engine/reaper.ts'
import { migrate } from '../../src/store/migrate.ts'
import { openDatabase } from '../../src/store/postgres.ts'
import { privatePostgres } from '../support/database.ts'
import { expectSound } from '../support/engine-checks.ts'
import { createWorld, type World } from '../support/engine-world.ts'
import { eventually } from '../support/eventually.ts'

const REFS = ['one', 'two', 'three']

/** Deployments of three services; the second of each never becomes ready, the third crashes while it bakes. */
async function deployALot(world: World): Promise<void> {
  const targets = await Promise.all(['a', 'b', 'c'].map((name) => world.service(name)))
  for (const ref of REFS)
    world.commit(ref, { deploy: { releaseCommand: 'migrate', bakeMs: 30 }, run: { instances: 2 } }, { buildLines: [`made ${ref}`] })
  for (const ref of REFS) {
    for (const target of targets) {
      const { id } = await world.deploy(target, ref)
      if (ref === 'two') world.unready.add(id)
    }
  }
}

async function expectAllDone(world: World): Promise<void> {
  await eventually(async () => (await world.database.query('select 1 from deployments where not settled')).length === 0, {
    withinMs: 60_000,
  })
  for (const server of world.servers) await eventually(() => reap(server.engine).then(() => true))
  const ends = await world.database.query<{ ref: string; status: string; count: number }>(
    `select source->>'ref' as ref, status, count(*) from deployments group by 1, 2 order by 1, 2`,
  )
  expect(ends).toEqual([
    { ref: 'one', status: 'superseded', count: 3 },
    { ref: 'three', status: 'running', count: 3 },
    { ref: 'two', status: 'failed', count: 3 },
  ])
  await expectSound(world)
  const twice = await world.database.query('select text from log_lines group by deployment_id, at, stream, text having count(*) > 1')
  expect(twice).toEqual([])
  for (const ref of REFS) {
    const logged = await world.database.query(
      `select distinct d.id from deployments d join log_lines l on l.deployment_id = d.id where d.source->>'ref' = $1 and l.text in ($2, $3)`,
      [ref, `made ${ref}`, 'ran migrate'],
    )
    expect({ ref, logged: logged.length }).toEqual({ ref, logged: 3 })
  }
}

describe('I5: a database that goes away', () => {
  test('every connection cut again and again: all deployments end as they should, nothing is lost or done twice', async () => {
    const world = await createWorld()
    try {
      await deployALot(world)
      await Promise.all([world.server(), world.server()].map((server) => server.start()))
      for (let cut = 0; cut < 15; cut++) {
        await new Promise((resolve) => setTimeout(resolve, 20 + Math.random() * 100))
        await world.test.terminateBackends()
      }
      await expectAllDone(world)
    } finally {
      await world.close()
    }
  })

  test('PostgreSQL stopped and started again: the deployments go on where they were', async () => {
    const files = await privatePostgres()
    const { connection } = await files.start()
    const database = openDatabase({ connection, poolMax: 4, logger: silentLogger })
    try {
      await migrate(database)
      const test = { database, connection, terminateBackends: async () => {}, drop: async () => {} }
      const world = await createWorld({ test })
      try {
        await deployALot(world)
        await Promise.all([world.server(), world.server()].map((server) => server.start()))
        for (let cut = 0; cut < 2; cut++) {
          await eventually(async () => (await world.database.query(`select 1 from deployments where settled`)).length > cut * 3)
          await files.stop()
          await files.start()
        }
        await expectAllDone(world)
      } finally {
        await world.close()
      }
    } finally {
      await database.close()
      await files.remove()
    }
  })
})
