import { ShiplockError } from '../core/errors.ts'
import type { CommandResult } from '../core/exec.ts'
import { printable } from '../core/printable.ts'

const LINES = 3
const LINE_CHARACTERS = 400
/** `2026-11-26T20:30:19Z	FATAL	Fatal error	…`: the time is the log's own matter, the level said by where the line stands. */
const PREFIX = /^\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:?\d\d)\s+/
const LEVEL = /^FATAL\s+(?:Fatal error\s+)?/
/** How Go begins to tell of a crash; what follows is a stack of many lines. */
const CRASH = /^(?:unexpected fault address|panic:|fatal error:|runtime: |\[signal SIG)/

/** A line of Trivy's log for people: harmless, without time stamp and tabs. */
export function plainLine(line: string): string {
  return printable(line).replace(PREFIX, '').replace(/\t+/g, ' ').trim()
}

/** What a run said at its end, and the first line of a crash, of which the end is only the foot of its stack. */
export class LastWords {
  #crash: string | null = null

  hear(line: string): void {
    if (this.#crash === null && CRASH.test(line)) this.#crash = plainLine(line)
  }

  /** The last lines of stderr: Trivy says there why it gave up, with its usage text below an unknown flag. */
  of({ stderrTail }: Pick<CommandResult, 'stderrTail'>): string[] {
    const tail = stderrTail.map(plainLine).filter((line) => line !== '')
    return this.#crash === null ? tail : [this.#crash, ...tail.filter((line) => line !== this.#crash)]
  }
}

/** bbolt's lock on the layer cache, held by a process that does not take turns with us. */
export function isCacheBusy(tail: readonly string[]): boolean {
  return tail.some((line) => /may be in use by another process/i.test(line))
}

/** The database of Java archives alone is missing or not to be had: everything else can be looked into without it. */
export function isJavaDatabaseMissing(tail: readonly string[]): boolean {
  return tail.some((line) =>
    /initialize the java db|java db (?:update|init|error)|failed to download (?:the )?java db|skip-java-db-update'? cannot/i.test(line),
  )
}

/** Registry unreachable, refused, limited: a database that is there may still do. */
export function canGoOnWithOldDatabase(tail: readonly string[]): boolean {
  return tail.some((line) =>
    /failed to download (the )?(vulnerability|java) DB|OCI artifact error|database download error|(java )?DB error.*(download|update)/i.test(
      line,
    ),
  )
}

/** It is there, and can't be read: truncated, overwritten, of another schema. */
function isDatabaseDamaged(tail: readonly string[]): boolean {
  return tail.some(
    (line) =>
      /failed to open (?:the )?(?:vulnerability )?db|invalid database|checksum error|version mismatch|file size too small|old schema version|DB schema|bbolt/i.test(
        line,
      ) || /^unexpected fault address/.test(line),
  )
}

/** A run that did not end well, as an error for people. `timeoutMs`: of the whole scan. */
export function explainFailure(
  result: Pick<CommandResult, 'exitCode' | 'signal' | 'timedOut'>,
  tail: readonly string[],
  timeoutMs: number,
): ShiplockError {
  const [why, hint] = causeOf(result, tail, timeoutMs)
  const last = linesOf(tail)
  const said = last.length === 0 ? '' : `: ${last.join(' / ')}`
  return new ShiplockError('SCANNER_FAILED', `trivy ${why}${said}`, {
    details: { logTail: tail, exitCode: result.exitCode },
    ...(hint === null ? {} : { hint }),
  })
}

function causeOf(
  { exitCode, signal, timedOut }: Pick<CommandResult, 'exitCode' | 'signal' | 'timedOut'>,
  tail: readonly string[],
  timeoutMs: number,
): [why: string, hint: string | null] {
  const has = (pattern: RegExp) => tail.some((line) => pattern.test(line))
  if (timedOut || has(/context deadline exceeded/)) {
    return [`was not done when the ${timeoutMs / 1000} s for the scan were over`, 'Raise SHIPLOCK_SCAN_TIMEOUT.']
  }
  if (signal === 'SIGKILL') return ['was killed, as it is when the host runs out of memory', 'See the kernel log of the server.']
  if (isDatabaseDamaged(tail)) return ['can’t read its database', DAMAGED_HINT]
  if (signal !== null) return [`was ended by ${signal}`, null]
  if (has(/unknown (shorthand )?flag/)) return ['does not know a flag that is needed', 'Install a current Trivy on the server.']
  if (has(/cannot be specified on the first run/)) {
    return isJavaDatabaseMissing(tail)
      ? ['has no Java database and may not fetch one', JAVA_HINT]
      : ['has no database and may not fetch one', 'Put the databases into the cache directory, or unset SHIPLOCK_TRIVY_OFFLINE.']
  }
  if (canGoOnWithOldDatabase(tail)) {
    return isJavaDatabaseMissing(tail)
      ? ['could not fetch its Java database', 'Check the network of the server, or name a mirror with SHIPLOCK_TRIVY_JAVA_DB_REPOSITORY.']
      : ['could not fetch its database', 'Check the network of the server, or name a mirror with SHIPLOCK_TRIVY_DB_REPOSITORY.']
  }
  return [`ended with ${exitCode ?? 'no exit code'}`, null]
}
export const JAVA_HINT = 'Put `java-db/` into the cache directory of Trivy, or unset SHIPLOCK_TRIVY_OFFLINE.'
export const DAMAGED_HINT =
  'Remove `db/` in the cache directory of Trivy (SHIPLOCK_TRIVY_CACHE_DIR): the next scan fetches it again; offline, put a whole one there.'

/** What it said: of a crash the first line; else the last, without the usage text and the pointers that follow. */
function linesOf(tail: readonly string[]): string[] {
  const shown = (line: string) => (line.length > LINE_CHARACTERS ? `${line.slice(0, LINE_CHARACTERS)}…` : line)
  const [first] = tail
  if (first !== undefined && CRASH.test(first)) return [shown(first)]
  const fatal = tail.findLastIndex((line) => /^(?:FATAL|Error:)|\bFATAL\b/.test(line))
  const from = fatal === -1 ? Math.max(0, tail.length - LINES) : fatal
  return tail.slice(from, from + LINES).map((line) => shown(line.replace(LEVEL, '')))
}
