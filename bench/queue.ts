import { randomUUID } from 'node:crypto'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../src/core/clock.ts'
import { ShiplockError } from '../src/core/errors.ts'
import { silentLogger } from '../src/core/log.ts'
import { Keyring } from '../src/core/seal.ts'
import type { ServerId } from '../src/domain/ids.ts'
import { commitEnding, commitVerdict } from '../src/engine/commit.ts'
import type { EngineDependencies } from '../src/engine/dependencies.ts'
import { loadWork } from '../src/engine/work.ts'
import { claim } from '../src/engine/worker.ts'
import { type Database, isConstraintViolation } from '../src/store/database.ts'
import { startEmbedded } from '../src/store/embedded.ts'
import { migrate } from '../src/store/migrate.ts'
import { openDatabase } from '../src/store/postgres.ts'
import { claimDeployment } from '../src/store/sql/claim.ts'
import { takeLease } from '../src/store/sql/leases.ts'
import { updateDeployment } from '../src/store/sql/progress.ts'
import { registerServer } from '../src/store/sql/servers.ts'
import { benchDatabase } from './database.ts'
import type { Section } from './report.ts'
import { quantile } from './statistics.ts'

const LANES = 1000
const SLOTS = 100
const PENDING = 10_000
const FINISHED = 200_000
const CHUNK = 10_000
const SESSIONS = 8

/** The real queue on a real embedded PostgreSQL with fsync on: how fast deployments go through, and what a long queue costs a claim. */
export async function benchQueue(isQuick: boolean): Promise<Section> {
  const seconds = isQuick ? 2 : 5
  const disk = await benchDatabase(isQuick ? 1 : 2)
  const root = await mkdtemp(join(tmpdir(), 'shiplock-bench-queue-'))
  await chmod(root, 0o711)
  const embedded = await startEmbedded({ dataDirectory: root, sharedBase: join(root, 'shared'), logger: silentLogger })
  const database = openDatabase({ connection: embedded.connection, poolMax: SESSIONS + 2, logger: silentLogger })
  try {
    await migrate(database)
    const engine = await prepareEngine(database)
    await addDeployments(database, 'pending', 200)
    const empty = await claimTimes(database, 200)
    await addDeployments(database, 'finished', FINISHED)
    await addDeployments(database, 'pending', PENDING)
    await database.query('vacuum analyze deployments')
    const full = await claimTimes(database, isQuick ? 200 : 1000)
    const pairs = await perSecond(SESSIONS, seconds, () => bareLife(engine))
    await addDeployments(database, 'pending', PENDING)
    const lives = await perSecond(SESSIONS, seconds, () => shortestLife(engine))
    const commits = { what: 'single-row commits, 8 sessions', value: disk.commitsPerSecond.eight }
    return {
      name: 'queue',
      title: `durable queue, fsync on, ${SESSIONS} sessions; ${disk.syncsPerSecond} fdatasync/s on this disk`,
      rows: [
        { name: 'claim + complete (two transactions)', value: pairs, unit: '/s', beside: commits, budget: { atLeast: 1000 } },
        { name: 'claim, fail, end as the engine does, with events', value: lives, unit: '/s', beside: commits },
        {
          name: 'claim p50, 10,000 pending and 200,000 finished',
          value: quantile(full, 0.5),
          unit: 'ms',
          beside: { what: 'small table', value: quantile(empty, 0.5) },
        },
        {
          name: 'claim p99',
          value: quantile(full, 0.99),
          unit: 'ms',
          beside: { what: 'small table', value: quantile(empty, 0.99) },
          budget: { atMost: 10 },
        },
      ],
      figures: { disk, empty, full },
    }
  } finally {
    await database.close()
    await embedded.stop()
    await rm(root, { recursive: true, force: true })
  }
}

async function prepareEngine(database: Database): Promise<EngineDependencies> {
  const owner = { serverId: 'srv_bench' as ServerId, bootId: randomUUID() }
  await registerServer(database, owner, 'bench')
  await database.query(`insert into projects (id, name) values ('prj_b', 'bench')`)
  await database.query(`insert into environments (id, project_id, name) values ('env_b', 'prj_b', 'production')`)
  await database.query(
    `insert into services (id, project_id, name) select 'svc_' || n, 'prj_b', 's' || n from generate_series(1, $1::int) n`,
    [LANES],
  )
  await database.query(
    `insert into service_environments (id, project_id, environment_id, service_id, host)
     select 'sen_' || n, 'prj_b', 'env_b', 'svc_' || n, 's' || n || '.localhost' from generate_series(1, $1::int) n`,
    [LANES],
  )
  return {
    database,
    // Nothing is deployed here: a driver that is asked for anything is a mistake of the benchmark.
    drivers: undefined as unknown as EngineDependencies['drivers'],
    owner,
    sealer: new Keyring([Buffer.alloc(32, 1)]),
    clock: systemClock,
    logger: silentLogger,
    workDirectory: '/nonexistent',
    uploads: { list: async () => [], remove: async () => {} },
    slots: SLOTS,
    buildTimeoutMs: 900_000,
    resolveVariables: () => ({}),
  }
}

async function addDeployments(database: Database, kind: 'pending' | 'finished', count: number): Promise<void> {
  for (let left = count; left > 0; left -= CHUNK) await addChunk(database, kind === 'finished', Math.min(left, CHUNK))
}

function addChunk(database: Database, isFinished: boolean, count: number): Promise<unknown> {
  return database.query(
    `insert into deployments (id, project_id, environment_id, service_id, service_environment_id, kind, source, trigger, options, facts,
            status, stage, settled, settled_at, started_at)
     select 'dep_' || gen_random_uuid(), 'prj_b', 'env_b', 'svc_' || lane, 'sen_' || lane, 'deploy',
            '{"kind":"git","url":"https://example.com/app.git","ref":null}', '{"kind":"api","actor":"bench","note":null}', '{}',
            jsonb_build_object('config', repeat('x', 1500), 'warnings', '[]'::jsonb),
            $2, $3, $4::boolean, case when $4::boolean then now() end, case when $4::boolean then now() end
       from (select 1 + n % $5::int as lane from generate_series(1, $1::int) n) lanes`,
    [count, isFinished ? 'superseded' : 'pending', isFinished ? 'retire' : null, isFinished, LANES],
  )
}

/** ms of each claim, its commit included; what is claimed goes back at once, outside of the measured time. */
async function claimTimes(database: Database, count: number): Promise<readonly number[]> {
  const times: number[] = []
  for (let round = 0; round < count; round++) {
    const from = performance.now()
    const row = await database.transaction((tx) => claimDeployment(tx, { slots: SLOTS, timeoutMs: 900_000 }))
    times.push(performance.now() - from)
    if (row === null) throw new Error('nothing to claim')
    // Ten stay in progress, so that the claim has busy lanes to step over.
    if (round >= 10)
      await database.query(`update deployments set slot = null, status = 'failed', settled = true, settled_at = now() where id = $1`, [
        row.id,
      ])
  }
  await database.query(`update deployments set slot = null, status = 'failed', settled = true, settled_at = now() where slot is not null`)
  return times
}

async function bareLife({ database, owner, slots }: EngineDependencies): Promise<boolean> {
  const row = await unlessTaken(() =>
    database.transaction(async (tx) => {
      const claimed = await claimDeployment(tx, { slots, timeoutMs: 900_000 })
      if (claimed !== null) await takeLease(tx, claimed.id, owner)
      return claimed
    }),
  )
  if (row === null) return false
  await database.transaction(async (tx) => {
    await updateDeployment(tx, row.id, { status: 'failed', settled: true, isSlotFree: true })
    await tx.query('delete from leases where deployment_id = $1', [row.id])
  })
  return true
}

/** The shortest life that a deployment can have in the engine: it is claimed, its first stage fails, it ends. Three transactions, seven events. */
async function shortestLife(engine: EngineDependencies): Promise<boolean> {
  const lease = await unlessTaken(() => engine.database.transaction((tx) => claim(engine, tx)))
  if (lease === null) return false
  const work = await loadWork(engine, engine.database, lease)
  const error = {
    ...new ShiplockError('SOURCE_REFUSED', 'bench'),
    code: 'SOURCE_REFUSED',
    message: 'bench',
    hint: '',
    stage: work.deployment.stage,
    logTail: [],
    attempts: [],
  }
  await engine.database.transaction((tx) => commitVerdict(tx, work, 'failed', error, 'bench'))
  const ending = await loadWork(engine, engine.database, lease)
  await engine.database.transaction((tx) => commitEnding(tx, ending, []))
  return true
}

/** The indexes may refuse a claim that another session won (I4); that one is not counted. */
async function unlessTaken<T>(work: () => Promise<T | null>): Promise<T | null> {
  try {
    return await work()
  } catch (error) {
    if (isConstraintViolation(error)) return null
    throw error
  }
}

async function perSecond(sessions: number, seconds: number, work: () => Promise<boolean>): Promise<number> {
  const end = performance.now() + seconds * 1000
  let count = 0
  const session = async () => {
    while (performance.now() < end) if (await work()) count += 1
  }
  const from = performance.now()
  await Promise.all(Array.from({ length: sessions }, session))
  return (count * 1000) / (performance.now() - from)
}
