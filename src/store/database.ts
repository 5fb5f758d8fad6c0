import { ShiplockError } from '../core/errors.ts'

export interface QueryOptions {
  /** Prepares the statement once per connection under this name. The text must be the same at every use of the name. */
  readonly name?: string
}

/**
 * One SQL statement at a time. Rows come as plain objects: `bigint` as number (as string beyond 2^53), `timestamptz` as ISO 8601 in UTC
 * with milliseconds, `json(b)` parsed, `numeric` as string. A JSON parameter is passed as `JSON.stringify(value)`: a bare array would
 * become a PostgreSQL array.
 */
export interface Queryable {
  query<Row = Record<string, unknown>>(text: string, params?: readonly unknown[], options?: QueryOptions): Promise<Row[]>
}

export interface TransactionOptions {
  /** Default `read committed`. */
  readonly isolation?: 'read committed' | 'repeatable read' | 'serializable'
  /** Bound of each statement in here, in place of the connection's. */
  readonly statementTimeoutMs?: number
}

/** PostgreSQL, embedded or not. Every rejection is a DatabaseError. */
export interface Database extends Queryable {
  /** Commits what `work` did when it resolves, rolls back when it rejects. `tx` is of no use afterwards. */
  transaction<T>(work: (tx: Queryable) => Promise<T>, options?: TransactionOptions): Promise<T>
  /**
   * Resolves once notifications on `channel` arrive; returns what ends it. `onPayload(null)` says that notifications may have been
   * missed (the connection was lost and made again): look at the tables.
   */
  listen(channel: string, onPayload: (payload: string | null) => void): Promise<() => Promise<void>>
  /** Waits for what is running, then closes every connection. May be called twice. */
  close(): Promise<void>
}

/**
 * What went wrong, by what the caller can do about it:
 * `unavailable`: not there or not accepting; `connection-lost`: gone while it worked; `conflict`: serialization failure, deadlock or
 * lock time-out, the transaction was rolled back; `timeout`: a statement took too long; `constraint`: the data refused it.
 */
export type DatabaseFault = 'unavailable' | 'connection-lost' | 'conflict' | 'timeout' | 'constraint' | 'disk-full' | 'refused' | 'other'

export interface DatabaseErrorFacts {
  readonly fault: DatabaseFault
  /** The connection went away when a commit (or a statement that commits by itself) was under way: it may or may not have happened. */
  readonly isOutcomeUnknown: boolean
  /** SQLSTATE, when the server gave one. */
  readonly sqlState?: string
  /** Name of the violated constraint. */
  readonly constraint?: string
}

const CODE_OF_FAULT = {
  unavailable: 'DATABASE_UNAVAILABLE',
  'connection-lost': 'DATABASE_UNAVAILABLE',
  conflict: 'DATABASE_UNAVAILABLE',
  timeout: 'DATABASE_UNAVAILABLE',
  refused: 'DATABASE_UNAVAILABLE',
  'disk-full': 'DISK_FULL',
  constraint: 'INTERNAL',
  other: 'INTERNAL',
} as const

/** What a Database rejects with. The message never holds parameters or passwords (I8). */
export class DatabaseError extends ShiplockError implements DatabaseErrorFacts {
  readonly fault: DatabaseFault
  readonly isOutcomeUnknown: boolean
  readonly sqlState?: string
  readonly constraint?: string

  constructor(message: string, facts: DatabaseErrorFacts, options: { hint?: string; cause?: unknown } = {}) {
    super(CODE_OF_FAULT[facts.fault], message, { ...options, details: { ...facts } })
    this.name = 'DatabaseError'
    this.fault = facts.fault
    this.isOutcomeUnknown = facts.isOutcomeUnknown
    if (facts.sqlState !== undefined) this.sqlState = facts.sqlState
    if (facts.constraint !== undefined) this.constraint = facts.constraint
  }
}

/** A disk that is full has room again once whoever filled it was stopped, or somebody cleared up. */
const TRANSIENT: ReadonlySet<DatabaseFault> = new Set<DatabaseFault>(['unavailable', 'connection-lost', 'conflict', 'disk-full'])

/** True when the same work may succeed later with nothing changed. Whether it may be done AGAIN is `isOutcomeUnknown`'s matter. */
export function isTransient(error: unknown): error is DatabaseError {
  return error instanceof DatabaseError && TRANSIENT.has(error.fault)
}

/** True for a violation of the constraint (any, when no name is given). */
export function isConstraintViolation(error: unknown, constraint?: string): error is DatabaseError {
  return error instanceof DatabaseError && error.fault === 'constraint' && (constraint === undefined || error.constraint === constraint)
}
