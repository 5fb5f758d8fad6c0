import { ShiplockError } from '../core/errors.ts'
import type { CommandResult } from '../core/exec.ts'
import { printable } from '../core/printable.ts'

const LINES = 3
const LINE_CHARACTERS = 400

/** The last lines of stderr: Trivy says there why it gave up, with its usage text below an unknown flag. */
export function tailOf({ stderrTail }: Pick<CommandResult, 'stderrTail'>): string[] {
  return stderrTail.map((line) => printable(line).trim()).filter((line) => line !== '')
}

/** bbolt's lock on the layer cache, held by a process that does not take turns with us. */
export function isCacheBusy(tail: readonly string[]): boolean {
  return tail.some((line) => /may be in use by another process/i.test(line))
}

/** Registry unreachable, refused, limited: a database that is there may still do. */
export function canGoOnWithOldDatabase(tail: readonly string[]): boolean {
  return tail.some((line) =>
    /failed to download (the )?(vulnerability|java) DB|OCI artifact error|database download error|(java )?DB error.*(download|update)/i.test(
      line,
    ),
  )
}

/** A run that did not end well, as an error for people. */
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
  if (timedOut || has(/context deadline exceeded/)) return [`was not done after ${timeoutMs / 1000} s`, 'Raise SHIPLOCK_SCAN_TIMEOUT.']
  if (signal === 'SIGKILL') return ['was killed, as it is when the host runs out of memory', 'See the kernel log of the server.']
  if (signal !== null) return [`was ended by ${signal}`, null]
  if (has(/unknown (shorthand )?flag/)) return ['does not know a flag that is needed', 'Install a current Trivy on the server.']
  if (has(/cannot be specified on the first run/)) {
    return ['has no database and may not fetch one', 'Put the databases into the cache directory, or unset SHIPLOCK_TRIVY_OFFLINE.']
  }
  if (canGoOnWithOldDatabase(tail)) {
    return ['could not fetch its database', 'Check the network of the server, or name a mirror with SHIPLOCK_TRIVY_DB_REPOSITORY.']
  }
  return [`ended with ${exitCode ?? 'no exit code'}`, null]
}

/** What it said last, without the usage text and the pointers that follow. */
function linesOf(tail: readonly string[]): string[] {
  const fatal = tail.findLastIndex((line) => /\b(FATAL|Error:)/.test(line))
  const from = fatal === -1 ? Math.max(0, tail.length - LINES) : fatal
  return tail.slice(from, from + LINES).map((line) => (line.length > LINE_CHARACTERS ? `${line.slice(0, LINE_CHARACTERS)}…` : line))
}
