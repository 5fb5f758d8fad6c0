import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { ShiplockError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Logger } from '../core/log.ts'
import type { Database, Queryable } from './database.ts'

export interface Migration {
  readonly version: number
  /** File name without `.sql`. */
  readonly name: string
  readonly sql: string
  /** sha256 of the file, hex. */
  readonly checksum: string
}

/** The package's own; the same relative place from `src/store` and from `dist/store`. */
export const MIGRATIONS_DIRECTORY = fileURLToPath(new URL('../../migrations', import.meta.url))

const FILE_NAME = /^(\d{4})-[a-z0-9-]+\.sql$/
/** Chosen once at random. Every Shiplock server on a database takes the same. */
const ADVISORY_LOCK = 7_215_534_103

/** `NNNN-name.sql` in order, without gaps from 0001. */
export async function readMigrations(directory: string = MIGRATIONS_DIRECTORY): Promise<Migration[]> {
  const files = (await readdir(directory)).filter((file) => file.endsWith('.sql')).sort()
  return Promise.all(
    files.map(async (file, index) => {
      const version = Number(FILE_NAME.exec(file)?.[1])
      if (version !== index + 1) {
        throw new ShiplockError('INTERNAL', `migration ${file} should be named ${String(index + 1).padStart(4, '0')}-some-name.sql`)
      }
      const sql = await readFile(`${directory}/${file}`, 'utf8')
      return { version, name: file.slice(0, -'.sql'.length), sql, checksum: createHash('sha256').update(sql).digest('hex') }
    }),
  )
}

/**
 * Brings the schema to the newest migration; returns the names of those applied now. Each runs in one transaction under an advisory
 * lock, so servers that start together take turns and a crash leaves whole migrations only.
 */
export async function migrate(
  database: Database,
  options: { readonly logger?: Logger; readonly migrations?: readonly Migration[] } = {},
): Promise<string[]> {
  const migrations = options.migrations ?? (await readMigrations())
  const applied: string[] = []
  let isDone = false
  while (!isDone) {
    const name = await database.transaction((tx) => applyNext(tx, migrations), { statementTimeoutMs: LIMITS.databaseMigrationMs })
    isDone = name === null
    if (name !== null) {
      applied.push(name)
      options.logger?.info('migration applied', { migration: name })
    }
  }
  return applied
}

interface AppliedRow {
  readonly version: number
  readonly name: string
  readonly checksum: string
}

async function applyNext(tx: Queryable, migrations: readonly Migration[]): Promise<string | null> {
  await tx.query('SELECT pg_advisory_xact_lock($1)', [ADVISORY_LOCK])
  await tx.query(`CREATE TABLE IF NOT EXISTS shiplock_migrations (
    version integer PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
  )`)
  const rows = await tx.query<AppliedRow>('SELECT version, name, checksum FROM shiplock_migrations ORDER BY version')
  assertKnown(rows, migrations)
  const next = migrations[rows.length]
  if (next === undefined) return null
  await tx.query(next.sql)
  const held = await tx.query("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()")
  if (held.length === 0)
    throw new ShiplockError('INTERNAL', `migration ${next.name} ends its own transaction; take BEGIN and COMMIT out of it`)
  await tx.query('INSERT INTO shiplock_migrations (version, name, checksum) VALUES ($1, $2, $3)', [next.version, next.name, next.checksum])
  return next.name
}

/** What the database has must be a prefix of what the code has. */
function assertKnown(rows: readonly AppliedRow[], migrations: readonly Migration[]): void {
  for (const [index, row] of rows.entries()) {
    const known = migrations[index]
    if (known === undefined) {
      throw new ShiplockError(
        'SCHEMA_MISMATCH',
        `the database has migration ${row.name}, which this version of Shiplock does not know: it was used by a newer version`,
        { hint: 'Start the newer version again, or restore a backup from before the upgrade.', details: { migration: row.name } },
      )
    }
    if (known.version !== row.version || known.checksum !== row.checksum) {
      throw new ShiplockError('SCHEMA_MISMATCH', `migration ${row.name} was changed after it had been applied to this database`, {
        hint: 'Put the file back as it was released; a correction is a new migration.',
        details: { migration: row.name, applied: row.checksum, found: known.checksum },
      })
    }
  }
}
