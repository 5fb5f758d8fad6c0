import { readdir } from 'node:fs/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { findPackage } from '../../src/store/embedded/binaries.ts'
import { listProcesses } from '../../src/store/embedded/process-table.ts'
import { bundle, removeBundle } from '../support/bundle.ts'
import { administer, type PrivatePostgres, privatePostgres } from '../support/database.ts'
import { startWriter, type Writer } from '../support/database-writer.ts'
import { eventually } from '../support/eventually.ts'

const CYCLES = 36

/** Who is killed: the server process, PostgreSQL's first process, or both at once. */
type Victim = 'server' | 'postmaster' | 'both'

describe('I5: kill -9', () => {
  let files: PrivatePostgres
  let program: string
  let writers: Writer[]

  beforeEach(async () => {
    files = await privatePostgres()
    program = await bundle('programs/database-writer.ts')
    writers = []
  })
  afterEach(async () => {
    for (const { child } of writers) child.kill('SIGKILL')
    await files.remove()
    await removeBundle(program)
  })

  const write = (from: number, count = 0) => {
    const writer = startWriter({ ...files, program, installed: findPackage(), from, count })
    writers.push(writer)
    return writer
  }

  for (const victim of ['server', 'postmaster', 'both'] as const satisfies Victim[]) {
    test(`of ${victim} at ${CYCLES / 3} random moments loses no acknowledged row`, async () => {
      const acknowledged = new Set<number>()
      let from = 1
      let previousPid = 0
      for (let cycle = 0; cycle < CYCLES / 3; cycle++) {
        const writer = write(from)
        const { pid, adopted } = await writer.ready
        // A server that died leaves PostgreSQL running: the next one takes it over.
        if (cycle > 0)
          expect({ adopted, isSame: pid === previousPid }).toEqual({ adopted: victim === 'server', isSame: victim === 'server' })
        previousPid = pid
        await randomPause()
        if (victim !== 'server') process.kill(pid, 'SIGKILL')
        if (victim !== 'postmaster') writer.child.kill('SIGKILL')
        await writer.ended
        for (const n of writer.acknowledged) acknowledged.add(n)
        from += 100_000
      }
      const { connection } = await files.start()
      const rows = await administer<{ n: number }>(connection, 'SELECT n FROM acknowledged')
      const kept = new Set(rows.map(({ n }) => n))
      const lost = [...acknowledged].filter((n) => !kept.has(n))
      expect(acknowledged.size).toBeGreaterThan(CYCLES)
      expect(lost).toEqual([])
      expect(await postmasters(files)).toHaveLength(1)
    })
  }

  test('while the database is being made leaves nothing that counts: the next start makes it', async () => {
    for (let cycle = 0; cycle < 8; cycle++) {
      const writer = write(1)
      // Somewhere between nothing and a finished database, a little later each time.
      await Promise.race([writer.ready.catch(() => {}), pause(cycle * 90)])
      writer.child.kill('SIGKILL')
      await writer.ended
    }
    const writer = write(1_000_000, 1)
    await writer.ready
    await writer.ended
    expect(writer.acknowledged).toEqual([1_000_000])
    const { connection } = await files.start()
    const rows = await administer<{ n: number }>(connection, 'SELECT n FROM acknowledged WHERE n = 1000000')
    expect(rows).toHaveLength(1)
    await files.stop()
    await files.start()
    expect((await readdir(`${files.dataDirectory}/postgres`)).filter((name) => name.startsWith('init-'))).toEqual([])
  })

  test('of the postmaster with a backend busy: the leftover is ended and the database starts', async () => {
    const first = await files.start()
    // Busy without a wait in which it would notice that its postmaster is gone.
    const spin = 'DO $$ DECLARE n bigint := 0; BEGIN LOOP n := n + 1; EXIT WHEN n > 100000000000; END LOOP; END $$'
    const busy = administer(first.connection, spin).catch((error: unknown) => error)
    await eventually(async () => {
      const [row] = await administer<{ n: number }>(
        first.connection,
        "SELECT count(*) AS n FROM pg_stat_activity WHERE query LIKE 'DO %' AND state = 'active'",
      )
      expect(row?.n).toBe(1)
    })
    process.kill(first.pid, 'SIGKILL')
    const second = await files.start()
    expect(second).toMatchObject({ adopted: false })
    expect(second.pid).not.toBe(first.pid)
    expect(await busy).toMatchObject({ fault: 'connection-lost' })
    expect(await administer(second.connection, 'SELECT 1 AS one')).toEqual([{ one: 1 }])
  })

  test('of one backend costs its session only: the server recovers by itself', async () => {
    const { connection, pid } = await files.start()
    const [row] = await administer<{ pid: number }>(connection, 'SELECT pid FROM pg_stat_activity WHERE pid = pg_backend_pid()')
    expect(row?.pid).toBeGreaterThan(0)
    const victim = administer<{ one: number }>(connection, 'SELECT pg_sleep(30)').catch((error: unknown) => error)
    const backend = await eventually(async () => {
      const rows = await administer<{ pid: number }>(
        connection,
        "SELECT pid FROM pg_stat_activity WHERE query LIKE '%pg_sleep(30)' AND pid <> pg_backend_pid()",
      )
      return rows[0]?.pid ?? false
    })
    process.kill(backend, 'SIGKILL')
    expect(await victim).toMatchObject({ fault: 'connection-lost', isOutcomeUnknown: true })
    await eventually(async () => expect(await administer(connection, 'SELECT 1 AS one')).toEqual([{ one: 1 }]))
    expect((await files.start()).pid).toBe(pid)
  })
})

async function postmasters(files: PrivatePostgres) {
  return (await listProcesses()).filter(({ command }) => command.includes(`postgres -D ${files.dataDirectory}/`))
}

function randomPause(): Promise<void> {
  return pause(Math.random() * 300)
}

/** The moment of a kill is what these tests vary; nothing is waited for. */
function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
