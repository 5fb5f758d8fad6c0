/** The engine's own log: one JSON object a line on stderr. Never given secrets (I8). */
export interface Logger {
  debug(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  error(message: string, fields?: LogFields): void
  /** A logger that adds `fields` to every line. */
  with(fields: LogFields): Logger
}
export type LogFields = Readonly<Record<string, unknown>>
export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent'

const RANK: Record<LogLevel, number> = { debug: 0, info: 1, warn: 2, error: 3, silent: 4 }

export function createLogger(
  level: LogLevel,
  write: (line: string) => void = (line) => void process.stderr.write(line),
  fields: LogFields = {},
): Logger {
  const at = (wanted: Exclude<LogLevel, 'silent'>) => (message: string, extra?: LogFields) => {
    if (RANK[wanted] < RANK[level]) return
    write(`${JSON.stringify({ at: new Date().toISOString(), level: wanted, message, ...fields, ...printable(extra) })}\n`)
  }
  return {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    with: (more) => createLogger(level, write, { ...fields, ...more }),
  }
}

function printable(fields: LogFields | undefined): LogFields | undefined {
  if (fields === undefined) return undefined
  return Object.fromEntries(
    Object.entries(fields).map(([key, value]) => [key, value instanceof Error ? `${value.name}: ${value.message}` : value]),
  )
}

export const silentLogger: Logger = createLogger('silent')
