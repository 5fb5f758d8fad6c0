import pg from 'pg'
import { ShiplockError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Logger } from '../core/log.ts'
import { type Database, DatabaseError, type Queryable, type TransactionOptions } from './database.ts'
import { classify, type ErrorMoment } from './postgres-error.ts'
import { PostgresListener } from './postgres-listener.ts'
import { postgresTypes } from './postgres-types.ts'

/** `url` as in DATABASE_URL (`sslmode` and the like mean what `pg` takes them for), or the private socket of the embedded server. */
export type DatabaseConnection =
  | { readonly url: string }
  | { readonly socketDirectory: string; readonly user: string; readonly database: string }

export interface DatabaseOptions {
  readonly connection: DatabaseConnection
  /** Connections for queries; one more is made when something listens. */
  readonly poolMax: number
  readonly logger: Logger
  /** Bound of one statement. Default `LIMITS.databaseStatementMs`. */
  readonly statementTimeoutMs?: number
  /** How often the listening connection asks whether the server is still there. Default `LIMITS.databaseHeartbeatMs`. */
  readonly heartbeatMs?: number
}

/** Opens nothing yet: the first query connects. A database that is away makes queries reject, never this. */
export function openDatabase(options: DatabaseOptions): Database {
  return new PostgresDatabase(options)
}

class PostgresDatabase implements Database {
  readonly #pool: pg.Pool
  readonly #listener: PostgresListener
  #closed: Promise<void> | null = null

  constructor(options: DatabaseOptions) {
    const config = clientConfig(options)
    this.#pool = new pg.Pool({ ...config, max: options.poolMax, idleTimeoutMillis: LIMITS.databaseIdleMs })
    this.#listener = new PostgresListener(config, options.logger, options.heartbeatMs)
    // The pool listens for errors of idle connections only. One that dies checked out between two queries must not end the process.
    this.#pool.on('connect', (client) => {
      client.on('error', (error) => options.logger.debug('a database connection was lost', { error }))
    })
    this.#pool.on('error', (error) => options.logger.debug('an idle database connection was lost', { error }))
  }

  async query<Row>(text: string, params: readonly unknown[] = [], { name }: { name?: string } = {}): Promise<Row[]> {
    const client = await this.#checkOut()
    let failure: DatabaseError | undefined
    try {
      return await run<Row>(client, { text, params, name }, 'commit')
    } catch (error) {
      failure = error as DatabaseError
      throw error
    } finally {
      client.release(isBroken(failure))
    }
  }

  async transaction<T>(work: (tx: Queryable) => Promise<T>, options: TransactionOptions = {}): Promise<T> {
    const client = await this.#checkOut()
    let mustDiscard = true
    try {
      const timeoutMs = options.statementTimeoutMs
      await run(client, { text: begin(options) }, 'transaction')
      const tx = new TransactionQueryable(client, timeoutMs)
      let result: T
      try {
        result = await work(tx)
      } catch (error) {
        tx.end()
        // On a lost connection a rollback would only wait for its own time-out.
        mustDiscard = (error instanceof DatabaseError && isBroken(error)) || (await rollback(client))
        throw error
      }
      tx.end()
      await commit(client, timeoutMs)
      mustDiscard = false
      return result
    } finally {
      client.release(mustDiscard)
    }
  }

  listen(channel: string, onPayload: (payload: string | null) => void): Promise<() => Promise<void>> {
    return this.#listener.listen(channel, onPayload)
  }

  close(): Promise<void> {
    this.#closed ??= Promise.all([this.#listener.close(), this.#pool.end()]).then(() => {})
    return this.#closed
  }

  async #checkOut(): Promise<pg.PoolClient> {
    try {
      return await this.#pool.connect()
    } catch (error) {
      throw classify(error, 'connect')
    }
  }
}

/** Refuses use after its end, where a statement would land outside of any transaction. */
class TransactionQueryable implements Queryable {
  readonly #client: pg.PoolClient
  readonly #timeoutMs: number | undefined
  #ended = false

  constructor(client: pg.PoolClient, timeoutMs: number | undefined) {
    this.#client = client
    this.#timeoutMs = timeoutMs
  }

  async query<Row>(text: string, params: readonly unknown[] = [], { name }: { name?: string } = {}): Promise<Row[]> {
    if (this.#ended) throw new ShiplockError('INTERNAL', 'a transaction was used after its end')
    return run<Row>(this.#client, { text, params, name, timeoutMs: this.#timeoutMs }, 'transaction')
  }

  end(): void {
    this.#ended = true
  }
}

interface Statement {
  readonly text: string
  readonly params?: readonly unknown[]
  readonly name?: string | undefined
  readonly timeoutMs?: number | undefined
}

/** Client-side bound above the server's: a statement that is never answered (half-open connection) ends too. */
const ANSWER_GRACE_MS = 5000

async function run<Row>(client: pg.PoolClient, statement: Statement, moment: ErrorMoment): Promise<Row[]> {
  const { text, params, name, timeoutMs } = statement
  try {
    const result: pg.QueryResult | pg.QueryResult[] = await client.query({
      text,
      ...(params === undefined || params.length === 0 ? {} : { values: [...params] }),
      ...(name === undefined ? {} : { name }),
      ...(timeoutMs === undefined ? {} : { query_timeout: timeoutMs + ANSWER_GRACE_MS }),
    })
    // Several statements in one text (a migration) give several results.
    return ((Array.isArray(result) ? result.at(-1)?.rows : result.rows) ?? []) as Row[]
  } catch (error) {
    throw classify(error, moment)
  }
}

function begin({ isolation, statementTimeoutMs }: TransactionOptions): string {
  const start = isolation === undefined ? 'BEGIN' : `BEGIN ISOLATION LEVEL ${isolation.toUpperCase()}`
  return statementTimeoutMs === undefined ? start : `${start}; SET LOCAL statement_timeout = ${Math.trunc(statementTimeoutMs)}`
}

async function commit(client: pg.PoolClient, timeoutMs: number | undefined): Promise<void> {
  let command: string
  try {
    const query = { text: 'COMMIT', ...(timeoutMs === undefined ? {} : { query_timeout: timeoutMs + ANSWER_GRACE_MS }) }
    command = (await client.query(query)).command
  } catch (error) {
    throw classify(error, 'commit')
  }
  // The server answers COMMIT of a failed transaction with a rollback and no error.
  if (command !== 'COMMIT') {
    throw new DatabaseError('database: the transaction was rolled back because a statement in it had failed', {
      fault: 'other',
      isOutcomeUnknown: false,
    })
  }
}

/** True when the connection is of no use any more. */
async function rollback(client: pg.PoolClient): Promise<boolean> {
  try {
    await client.query('ROLLBACK')
    return false
  } catch {
    return true
  }
}

function isBroken(failure: DatabaseError | undefined): boolean {
  return failure?.fault === 'connection-lost' || failure?.fault === 'unavailable'
}

function clientConfig(options: DatabaseOptions): pg.ClientConfig {
  const statementMs = options.statementTimeoutMs ?? LIMITS.databaseStatementMs
  return {
    ...address(options.connection),
    application_name: 'shiplock',
    connectionTimeoutMillis: LIMITS.databaseConnectMs,
    statement_timeout: statementMs,
    query_timeout: statementMs + ANSWER_GRACE_MS,
    idle_in_transaction_session_timeout: LIMITS.databaseIdleInTransactionMs,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    // Statements that don't wait for each other go out together: their order is kept, their round trips are one.
    pipeline: true,
    types: postgresTypes,
  }
}

function address(connection: DatabaseConnection): pg.ClientConfig {
  if (!('url' in connection)) {
    // All given, so that PG* variables in the server's environment can't redirect the private socket.
    const { socketDirectory, user, database } = connection
    return { host: socketDirectory, port: 5432, user, database, password: '', ssl: false }
  }
  if (!/^postgres(?:ql)?:\/\//.test(connection.url) || !URL.canParse(connection.url)) {
    throw new ShiplockError('INPUT_INVALID', 'DATABASE_URL is not a postgres:// URL', {
      hint: 'Write it as postgres://user:password@host:5432/database; percent-encode special characters of the password.',
    })
  }
  return { connectionString: connection.url }
}
