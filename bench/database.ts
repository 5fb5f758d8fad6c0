import { chmod, mkdtemp, open, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { silentLogger } from '../src/core/log.ts'
import type { Database } from '../src/store/database.ts'
import { listProcesses } from '../src/store/embedded/process-table.ts'
import { startEmbedded } from '../src/store/embedded.ts'
import { openDatabase } from '../src/store/postgres.ts'

export interface DatabaseBenchmark {
  /** Single-row transactions a second, each on disk when acknowledged, by one session and by eight. */
  readonly commitsPerSecond: { readonly one: number; readonly eight: number }
  /** write + fdatasync of 8 KiB a second on the same disk in the same run: what one session could reach at most. */
  readonly syncsPerSecond: number
  /** ms from nothing running to the first answered query: with an existing database, and with one to be made first. */
  readonly firstQueryMs: { readonly existing: number; readonly made: number }
  /** ms from a running one to the first answered query. */
  readonly adoptMs: number
  /** MiB of all its processes with one idle session, shared pages counted once (PSS); null where the system does not tell. */
  readonly residentMiB: number | null
}

/** Runs on a database of its own in the temporary directory; takes about `3 x seconds`. */
export async function benchDatabase(seconds = 2): Promise<DatabaseBenchmark> {
  const root = await mkdtemp(join(tmpdir(), 'shiplock-bench-db-'))
  await chmod(root, 0o711)
  const options = { dataDirectory: root, sharedBase: join(root, 'shared'), logger: silentLogger }
  const firstQuery = async () => {
    const started = performance.now()
    const embedded = await startEmbedded(options)
    const database = openDatabase({ connection: embedded.connection, poolMax: 8, logger: silentLogger })
    await database.query('SELECT 1')
    return { tookMs: performance.now() - started, embedded, database }
  }
  const made = await firstQuery()
  await made.database.close()
  const adopted = await firstQuery()
  await adopted.database.close()
  await adopted.embedded.stop()
  const { database, embedded, tookMs } = await firstQuery()
  try {
    const residentMiB = await residentMebibytes(embedded.pid)
    await database.query('CREATE TABLE rows (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, session int, text text)')
    return {
      syncsPerSecond: await syncs(root, seconds),
      commitsPerSecond: { one: await commits(database, 1, seconds), eight: await commits(database, 8, seconds) },
      firstQueryMs: { existing: tookMs, made: made.tookMs },
      adoptMs: adopted.tookMs,
      residentMiB,
    }
  } finally {
    await database.close()
    await embedded.stop()
    await rm(root, { recursive: true, force: true })
  }
}

async function commits(database: Database, sessions: number, seconds: number): Promise<number> {
  const end = performance.now() + seconds * 1000
  let count = 0
  const session = async (number: number) => {
    while (performance.now() < end) {
      await database.query('INSERT INTO rows (session, text) VALUES ($1, $2)', [number, 'a line of some length, as events have'], {
        name: 'insert',
      })
      count += 1
    }
  }
  await Promise.all(Array.from({ length: sessions }, (_, number) => session(number)))
  return Math.round(count / seconds)
}

async function syncs(directory: string, seconds: number): Promise<number> {
  const file = await open(join(directory, 'sync'), 'w')
  const page = Buffer.alloc(8192, 1)
  // Like the log of the database: the space is there before it is written.
  for (let n = 0; n < 512; n++) await file.write(page)
  await file.sync()
  const end = performance.now() + seconds * 1000
  let count = 0
  while (performance.now() < end) {
    await file.write(page, 0, page.length, (count % 512) * page.length)
    await file.datasync()
    count += 1
  }
  await file.close()
  return Math.round(count / seconds)
}

/** Its children carry `postgres: <cluster name>` as title and are in its session. */
async function residentMebibytes(postmaster: number): Promise<number | null> {
  let kibibytes = 0
  for (const { pid } of await listProcesses()) {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
    const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
    if (pid !== postmaster && parent !== postmaster) continue
    const pss = /^Pss:\s+(\d+) kB/m.exec(await readFile(`/proc/${pid}/smaps_rollup`, 'utf8').catch(() => ''))?.[1]
    if (pss === undefined) return null
    kibibytes += Number(pss)
  }
  return kibibytes / 1024
}
