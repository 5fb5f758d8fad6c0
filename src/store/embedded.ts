import { join } from 'node:path'
import pg from 'pg'
import { systemClock } from '../core/clock.ts'
import { acquireDirectoryLock, type DirectoryLock } from '../core/directory-lock.ts'
import { isShiplockError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Logger } from '../core/log.ts'
import { findPackage, type InstalledPackage, usableBinaries } from './embedded/binaries.ts'
import { unavailable } from './embedded/failure.ts'
import { ensureCluster } from './embedded/initialize.ts'
import {
  findPlacement,
  type Placement,
  preparePlacement,
  removeSocketDirectory,
  SHARED_BASE,
  socketDirectory,
} from './embedded/placement.ts'
import {
  endLeftovers,
  explainExit,
  findPostmaster,
  readPidFile,
  removeStaleLocks,
  spawnPostmaster,
  stopPostmaster,
} from './embedded/postmaster.ts'
import { isRunning } from './embedded/process-table.ts'
import { DATABASE_NAME, DATABASE_USER, writeSettings } from './embedded/settings.ts'
import type { DatabaseConnection } from './postgres.ts'

export interface EmbeddedOptions {
  /** Exists already. The database goes into `postgres` inside, or elsewhere where its account can't reach that (see placement). */
  readonly dataDirectory: string
  readonly logger: Logger
  /** Place for databases and programs that can't be in the data directory; for tests. */
  readonly sharedBase?: string
  /** For tests. */
  readonly installed?: InstalledPackage
}

export interface EmbeddedDatabase {
  readonly connection: Extract<DatabaseConnection, { socketDirectory: string }>
  /** It ran already: an earlier server left it, or was killed. */
  readonly adopted: boolean
  /** Of the postmaster. */
  readonly pid: number
  /** Stops PostgreSQL and waits until it is gone. Without this it stays, for the next server to adopt. */
  stop(): Promise<void>
}

/**
 * The embedded PostgreSQL of a data directory, running and answering when this resolves: adopted where it runs, else recovered from
 * whatever the last one left, or made. Never two on one directory. Rejects with DATABASE_UNAVAILABLE: what, where, what to do.
 */
export async function startEmbedded(options: EmbeddedOptions): Promise<EmbeddedDatabase> {
  const placement = await preparePlacement(options.dataDirectory, options.sharedBase)
  const lock = await waitForLock(placement)
  try {
    const running = await adopt(placement)
    const { pid, sockets } = running ?? (await start(placement, options))
    const connection = { socketDirectory: sockets, user: DATABASE_USER, database: DATABASE_NAME }
    options.logger.info(running === null ? 'PostgreSQL started' : 'PostgreSQL adopted', { pid, directory: placement.directory })
    return { connection, adopted: running !== null, pid, stop: () => stop(placement) }
  } finally {
    await lock.release()
  }
}

/** Stops the PostgreSQL of a data directory if it runs, whoever started it. */
export async function stopEmbedded(options: Pick<EmbeddedOptions, 'dataDirectory' | 'sharedBase'>): Promise<void> {
  const { isNew, ...placement } = await findPlacement(options.dataDirectory, options.sharedBase)
  if (!isNew) await stop(placement)
}

interface Running {
  readonly pid: number
  readonly sockets: string
}

async function adopt(placement: Placement): Promise<Running | null> {
  const found = await findPostmaster(placement)
  if (found === null) return null
  // PostgreSQL writes the line with the socket a moment after its pid.
  const sockets = found.socketDirectory ?? (await waitForSocketLine(placement, found.pid))
  if (sockets === null) return null
  const answered = await waitUntilAnswering(placement, sockets, () => isRunning(found.pid))
  return answered ? { pid: found.pid, sockets } : null
}

async function start(placement: Placement, options: EmbeddedOptions): Promise<Running> {
  const { sharedBase = SHARED_BASE, installed = findPackage() } = options
  const copyBase = placement.account.isSelf ? join(options.dataDirectory, 'postgres-programs') : sharedBase
  const binaries = await usableBinaries(placement.account, copyBase, installed)
  if (binaries.isCopy) options.logger.info('using a copy of the PostgreSQL programs', { directory: binaries.directory })
  const { isNew } = await ensureCluster(placement, binaries, Number.parseInt(installed.version, 10))
  if (isNew) options.logger.info('database made', { directory: placement.directory })
  await endLeftovers(placement)
  const former = (await readPidFile(placement))?.socketDirectory ?? null
  if (former !== null) await assertUnserved(placement, former)
  await removeStaleLocks(placement)
  const sockets = await socketDirectory(placement, former)
  await writeSettings(placement, sockets)
  const started = await spawnPostmaster(placement, binaries)
  if (await waitUntilAnswering(placement, sockets, async () => started.exit() === null)) return { pid: started.pid, sockets }
  await removeSocketDirectory(placement, sockets)
  throw await explainExit(placement, started)
}

async function stop(placement: Placement): Promise<void> {
  const lock = await waitForLock(placement)
  try {
    const found = await findPostmaster(placement)
    if (found === null) return
    await stopPostmaster(placement, found.pid)
    if (found.socketDirectory !== null) await removeSocketDirectory(placement, found.socketDirectory)
  } finally {
    await lock.release()
  }
}

/** Starting, adopting and stopping take turns, whichever processes do it. */
async function waitForLock({ directory }: Placement): Promise<DirectoryLock> {
  const deadline = systemClock.monotonic() + LIMITS.databaseStartMs
  for (;;) {
    try {
      return await acquireDirectoryLock(directory, 'database')
    } catch (error) {
      if (!isShiplockError(error, 'DATA_DIRECTORY_LOCKED') || systemClock.monotonic() > deadline) throw error
      await systemClock.sleep(20)
    }
  }
}

async function waitForSocketLine(placement: Placement, pid: number): Promise<string | null> {
  const deadline = systemClock.monotonic() + LIMITS.databaseConnectMs
  while (systemClock.monotonic() < deadline && (await isRunning(pid))) {
    const sockets = (await readPidFile(placement))?.socketDirectory ?? null
    if (sockets !== null) return sockets
    await systemClock.sleep(10)
  }
  if (await isRunning(pid)) throw silent(placement, pid)
  return null
}

/** True once it serves our database; false when it ended meanwhile. Recovery after a crash may take its time. */
async function waitUntilAnswering(placement: Placement, sockets: string, isAlive: () => Promise<boolean>): Promise<boolean> {
  const deadline = systemClock.monotonic() + LIMITS.databaseStartMs
  for (let pauseMs = 5; systemClock.monotonic() < deadline; pauseMs = Math.min(pauseMs * 1.5, 100)) {
    if (!(await isAlive())) return false
    const answer = await ask(placement, sockets, DATABASE_NAME)
    if (answer === 'ready') return true
    if (answer === 'no-database') await createDatabase(placement, sockets)
    else await systemClock.sleep(pauseMs)
  }
  throw silent(placement, (await readPidFile(placement))?.pid ?? 0)
}

function silent({ cluster, logFile }: Placement, pid: number): Error {
  return unavailable(
    `PostgreSQL (process ${pid}) in ${cluster} runs but does not answer`,
    `See ${logFile}; end that process and start again.`,
  )
}

/** A postmaster in another container that shares this directory has no process we could see, but its socket answers. */
async function assertUnserved(placement: Placement, sockets: string): Promise<void> {
  if ((await ask(placement, sockets, DATABASE_NAME)) === 'absent') return
  throw unavailable(
    `${placement.cluster} is in use by a PostgreSQL that is not visible from here`,
    'Stop the other container that has this data directory.',
  )
}

type Answer = 'ready' | 'absent' | 'not-yet' | 'no-database'

async function ask(placement: Placement, sockets: string, database: string, statement?: string): Promise<Answer> {
  const client = new pg.Client({
    host: sockets,
    port: 5432,
    user: DATABASE_USER,
    password: '',
    database,
    ssl: false,
    connectionTimeoutMillis: LIMITS.databaseConnectMs,
    query_timeout: LIMITS.databaseConnectMs,
  })
  client.on('error', () => {})
  try {
    await client.connect()
    const { rows } = await client.query<{ data_directory: string }>('SHOW data_directory')
    if (rows[0]?.data_directory !== placement.cluster) {
      throw unavailable(`another PostgreSQL answers at ${sockets}`, `Stop the one of ${rows[0]?.data_directory}.`)
    }
    if (statement !== undefined) await client.query(statement)
    return 'ready'
  } catch (error) {
    const { code, message } = error as { code?: string; message: string }
    if (code === '3D000') return 'no-database'
    // 42P04: made meanwhile. 28000: refused by pg_hba, which no waiting mends.
    if (code === '28000')
      throw unavailable(`PostgreSQL at ${sockets} refuses this user: ${message}`, 'Run Shiplock as the user who made it, or as root.')
    if (isShiplockError(error, 'DATABASE_UNAVAILABLE')) throw error
    return code === 'ENOENT' || code === 'ECONNREFUSED' ? 'absent' : 'not-yet'
  } finally {
    await client.end().catch(() => {})
  }
}

async function createDatabase(placement: Placement, sockets: string): Promise<void> {
  await ask(placement, sockets, 'postgres', `CREATE DATABASE ${DATABASE_NAME}`)
}
