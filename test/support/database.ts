import { createHash, randomBytes } from 'node:crypto'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inject } from 'vitest'
import { silentLogger } from '../../src/core/log.ts'
import type { Database } from '../../src/store/database.ts'
import { type EmbeddedDatabase, startEmbedded, stopEmbedded } from '../../src/store/embedded.ts'
import { migrate, readMigrations } from '../../src/store/migrate.ts'
import { type DatabaseConnection, openDatabase } from '../../src/store/postgres.ts'
import { inTurn } from './in-turn.ts'

type SocketConnection = EmbeddedDatabase['connection']

export interface TestDatabase {
  /** Open, with every migration applied. */
  readonly database: Database
  /** For further connections to the same database. */
  readonly connection: SocketConnection
  /** Ends every session of this database as a crash of its backends would. */
  terminateBackends(): Promise<void>
  /** Closes and drops it. */
  drop(): Promise<void>
}

let shared: Promise<EmbeddedDatabase> | null = null

/** The run's one PostgreSQL: started by the first that asks, adopted by the others, stopped by global-setup. */
export function sharedPostgres(): Promise<EmbeddedDatabase> {
  const directory = inject('testDatabaseDirectory')
  const start = () => startEmbedded({ dataDirectory: directory, logger: silentLogger, sharedBase: join(directory, 'shared') })
  shared ??= inTurn(directory, 'test-postgres', start)
  return shared
}

/** A database of its own for one test or file, cloned from a migrated template in some 30 ms. */
export async function freshDatabase(options: { readonly poolMax?: number; readonly isEmpty?: boolean } = {}): Promise<TestDatabase> {
  const { connection: admin } = await sharedPostgres()
  const template = options.isEmpty === true ? 'template1' : await migratedTemplate(admin)
  const name = `test_${randomBytes(6).toString('hex')}`
  await administer(admin, `CREATE DATABASE ${name} TEMPLATE ${template}`)
  const connection = { ...admin, database: name }
  const database = openDatabase({ connection, poolMax: options.poolMax ?? 5, logger: silentLogger })
  return {
    database,
    connection,
    terminateBackends: () => terminateBackends(admin, name),
    drop: async () => {
      await database.close()
      await administer(admin, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`)
    },
  }
}

/** Several workers may want it at once: each makes one under a name of its own, the first to rename wins. */
async function migratedTemplate(admin: SocketConnection): Promise<string> {
  const migrations = await readMigrations()
  const digest = createHash('sha256')
    .update(migrations.map(({ checksum }) => checksum).join())
    .digest('hex')
  const template = `template_${digest.slice(0, 16)}`
  const found = await administer(admin, `SELECT 1 FROM pg_database WHERE datname = '${template}'`)
  if (found.length > 0) return template
  const draft = `draft_${randomBytes(6).toString('hex')}`
  await administer(admin, `CREATE DATABASE ${draft}`)
  const database = openDatabase({ connection: { ...admin, database: draft }, poolMax: 1, logger: silentLogger })
  await migrate(database, { migrations }).finally(() => database.close())
  await administer(admin, `ALTER DATABASE ${draft} RENAME TO ${template}`).catch(() =>
    administer(admin, `DROP DATABASE ${draft} WITH (FORCE)`),
  )
  return template
}

/** One statement on a connection of its own. */
export async function administer<Row>(connection: DatabaseConnection, statement: string): Promise<Row[]> {
  const database = openDatabase({ connection, poolMax: 1, logger: silentLogger })
  try {
    return await database.query<Row>(statement)
  } finally {
    await database.close()
  }
}

export async function terminateBackends(admin: DatabaseConnection, name: string): Promise<void> {
  await administer(
    admin,
    `SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '${name}' AND pid <> pg_backend_pid()`,
  )
}

export interface PrivatePostgres {
  readonly dataDirectory: string
  /** Where databases go that can't be in the data directory. */
  readonly sharedBase: string
  start(): Promise<EmbeddedDatabase>
  stop(): Promise<void>
  /** Stops it and removes everything. */
  remove(): Promise<void>
}

/** A PostgreSQL of the test's own, to be stopped, killed and started at will. */
export async function privatePostgres(options: { readonly mode?: number } = {}): Promise<PrivatePostgres> {
  const root = await mkdtemp(join(tmpdir(), 'shiplock-pg-'))
  await chmod(root, 0o711)
  const dataDirectory = await mkdtemp(join(root, 'data-'))
  await chmod(dataDirectory, options.mode ?? 0o711)
  const sharedBase = join(root, 'shared')
  const stop = () => stopEmbedded({ dataDirectory, sharedBase })
  return {
    dataDirectory,
    sharedBase,
    start: () => startEmbedded({ dataDirectory, sharedBase, logger: silentLogger }),
    stop,
    remove: async () => {
      await stop()
      await rm(root, { recursive: true, force: true })
    },
  }
}
