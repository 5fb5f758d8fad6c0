import { DatabaseError, type DatabaseFault } from './database.ts'

/** What the driver gives: a server message has `severity` and a five-character SQLSTATE as `code`, a socket error has an errno there. */
interface DriverError {
  readonly code?: unknown
  readonly severity?: unknown
  readonly constraint?: unknown
  readonly message?: unknown
}

/** `connect`: nothing was sent. `transaction`: inside one, not at its commit. `commit`: a commit, or a statement that commits by itself. */
export type ErrorMoment = 'connect' | 'transaction' | 'commit'

const SQLSTATE = /^[0-9A-Z]{5}$/

/** SQLSTATE to fault: https://www.postgresql.org/docs/18/errcodes-appendix.html */
const FAULT_OF_STATE: Readonly<Record<string, DatabaseFault>> = {
  '40001': 'conflict',
  '40P01': 'conflict',
  '55P03': 'conflict',
  '57014': 'timeout',
  '25P03': 'connection-lost',
  '25P04': 'connection-lost',
  '57P01': 'connection-lost',
  '57P02': 'connection-lost',
  '57P03': 'unavailable',
  '57P05': 'connection-lost',
  '53300': 'unavailable',
  '53100': 'disk-full',
  '3D000': 'refused',
  '28000': 'refused',
  '28P01': 'refused',
}
const FAULT_OF_CLASS: Readonly<Record<string, DatabaseFault>> = { '08': 'connection-lost', '23': 'constraint', '53': 'unavailable' }

/** Any failure of the driver as a DatabaseError. */
export function classify(error: unknown, moment: ErrorMoment): DatabaseError {
  if (error instanceof DatabaseError) return error
  const { code, severity, message } = (error ?? {}) as DriverError
  const text = typeof message === 'string' && message !== '' ? message : String(code ?? error)
  if (typeof code === 'string' && SQLSTATE.test(code) && typeof severity === 'string') {
    return reported(error as DriverError, code, text, moment)
  }
  if (moment === 'connect') return unreachable(error, code, text)
  const isLost = isConnectionFailure(code, text)
  return new DatabaseError(
    `database: ${text}`,
    {
      fault: isLost ? 'connection-lost' : 'other',
      isOutcomeUnknown: isLost && moment === 'commit' && !NEVER_SENT.test(text),
    },
    { cause: error },
  )
}

/** An error the server reports in an intact session rolled the statement back. FATAL ends the session, and may do so after the commit. */
function reported(error: DriverError, sqlState: string, text: string, moment: ErrorMoment): DatabaseError {
  const fault = FAULT_OF_STATE[sqlState] ?? FAULT_OF_CLASS[sqlState.slice(0, 2)] ?? 'other'
  const hasEnded = error.severity === 'FATAL' || error.severity === 'PANIC'
  // Data exceptions quote the value in their message, constraint violations in their detail: neither goes further (I8).
  const isAboutData = sqlState.startsWith('22')
  return new DatabaseError(
    `database: ${isAboutData ? text.replace(/".*"/s, '"…"') : text}`,
    {
      fault: moment === 'connect' && fault === 'connection-lost' ? 'unavailable' : fault,
      isOutcomeUnknown: hasEnded && moment === 'commit',
      sqlState,
      ...(typeof error.constraint === 'string' ? { constraint: error.constraint } : {}),
    },
    isAboutData || fault === 'constraint' ? {} : { cause: error },
  )
}

const NEVER_SENT = /not queryable|client was closed/i
const CONNECTION_WORDS = /connection (?:terminated|error|ended)|not queryable|query read timeout|client was closed/i
const ERRNOS = new Set(['ECONNRESET', 'ECONNREFUSED', 'EPIPE', 'ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH', 'ENOTCONN', 'ECONNABORTED'])

function isConnectionFailure(code: unknown, text: string): boolean {
  return (typeof code === 'string' && ERRNOS.has(code)) || CONNECTION_WORDS.test(text)
}

/** Wrong certificates, protocols and host names do not mend themselves; what is only away does. */
function unreachable(cause: unknown, code: unknown, text: string): DatabaseError {
  const name = typeof code === 'string' ? code : ''
  const permanent = /^(?:CERT_|ERR_TLS|ERR_SSL|SELF_SIGNED|DEPTH_ZERO|UNABLE_TO|EACCES)/.test(name) || /SSL|SASL|password/i.test(text)
  return new DatabaseError(
    `can't connect to the database: ${text}`,
    { fault: permanent ? 'refused' : 'unavailable', isOutcomeUnknown: false },
    { cause },
  )
}
