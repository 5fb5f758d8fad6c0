import type { Clock } from '../core/clock.ts'
import { LIMITS } from '../core/limits.ts'
import type { Logger } from '../core/log.ts'
import { printable } from '../core/printable.ts'
import type { LineRedactor, Redactor } from '../core/redact.ts'
import type { DeploymentId } from '../domain/ids.ts'
import type { LogLine } from '../domain/log-line.ts'
import { type Database, isTransient } from '../store/database.ts'
import { withRetry } from '../store/retry.ts'
import type { Owner } from '../store/sql/leases.ts'
import { appendLog, logEndsWith, type NewLogLine } from '../store/sql/log.ts'

/** Collects a deployment's lines and writes them in batches. Memory is bounded: what a slow database can't take is dropped and said. */
export class LogWriter {
  readonly #options: { database: Database; deploymentId: DeploymentId; owner: Owner; clock: Clock; logger: Logger }
  readonly #redact: Redactor
  /** One per stream and source: a secret may be split across their lines. */
  readonly #redactors = new Map<string, LineRedactor>()
  #lines: NewLogLine[] = []
  #dropped = 0
  #written = 0
  #saidFull = false
  #timer: NodeJS.Timeout | null = null
  #writing: Promise<void> = Promise.resolve()

  constructor(options: { database: Database; deploymentId: DeploymentId; owner: Owner; clock: Clock; logger: Logger }, redact: Redactor) {
    this.#options = options
    this.#redact = redact
  }

  write(stream: LogLine['stream'], text: string, source: string | null): void {
    const isOurs = stream === 'engine' || stream === 'command'
    if (!isOurs && (this.#lines.length >= LIMITS.logLinesBuffered || this.#isFull(text))) {
      this.#dropped += 1
      return
    }
    const at = new Date(this.#options.clock.now()).toISOString()
    const redactor = this.#redactorOf(`${stream} ${source ?? ''}`)
    for (const line of text.split('\n')) {
      const index = this.#lines.push({ at, stream, source, text: '' }) - 1
      const lines = this.#lines
      // Before and after it is made printable: that may change a secret as well as bring one to light.
      redactor.push(printable(this.#redact(line)), (redacted) => {
        lines[index] = { at, stream, source, text: cut(redacted) }
      })
    }
    this.#timer ??= setTimeout(() => void this.flush(), LIMITS.logFlushMs)
  }

  /** The database keeps the exact count; this one keeps a flood from reaching it at all. */
  #isFull(text: string): boolean {
    this.#written += text.length + 1
    if (this.#written <= LIMITS.deploymentLogBytes) return false
    if (!this.#saidFull) {
      this.#saidFull = true
      this.write('engine', `the log is full (${LIMITS.deploymentLogBytes / 1024 / 1024} MiB): further output is dropped`, null)
    }
    return true
  }

  #redactorOf(key: string): LineRedactor {
    const known = this.#redactors.get(key)
    if (known !== undefined) return known
    const made = this.#redact.lines()
    this.#redactors.set(key, made)
    return made
  }

  /** Writes what there is; resolves when it is durable or given up. */
  flush(): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    this.#writing = this.#writing.then(() => this.#writeBatch())
    return this.#writing
  }

  async #writeBatch(): Promise<void> {
    for (const redactor of this.#redactors.values()) redactor.flush()
    const lines = this.#lines
    this.#lines = []
    if (this.#dropped > 0) {
      lines.push({
        at: new Date(this.#options.clock.now()).toISOString(),
        stream: 'engine',
        source: null,
        text: `${this.#dropped} lines of output were dropped`,
      })
      this.#dropped = 0
    }
    const { deploymentId, logger } = this.#options
    for (let at = 0; at < lines.length; at += LIMITS.logLinesPerBatch) {
      try {
        await this.#append(lines.slice(at, at + LIMITS.logLinesPerBatch))
      } catch (error) {
        logger.warn('log lines could not be written', { deploymentId, lines: lines.length - at, error })
        return
      }
    }
  }

  /** Through a database that goes away for a moment, once: after a lost reply the end of the log tells whether the batch is there. */
  async #append(batch: readonly NewLogLine[]): Promise<void> {
    const { database, deploymentId, owner, clock } = this.#options
    const last = batch.at(-1)
    if (last === undefined) return
    const patience = { clock, giveUpAfterMs: LIMITS.logRetryMs }
    const appendUnlessThere = async () => {
      if (!(await logEndsWith(database, deploymentId, last))) await appendLog(database, deploymentId, owner, batch)
    }
    try {
      await withRetry(() => appendLog(database, deploymentId, owner, batch), patience)
    } catch (error) {
      if (!isTransient(error) || !error.isOutcomeUnknown) throw error
      await withRetry(appendUnlessThere, { ...patience, isIdempotent: true })
    }
  }
}

/** Never in the middle of a character: PostgreSQL refuses halves. */
function cut(text: string): string {
  return text.length <= LIMITS.logLineBytes ? text : text.slice(0, LIMITS.logLineBytes).replace(/[\ud800-\udbff]$/, '')
}
