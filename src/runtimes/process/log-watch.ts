import { execFile } from 'node:child_process'
import { type FSWatcher, readFileSync, statSync, truncateSync, watch, writeFileSync } from 'node:fs'
import type { Clock } from '../../core/clock.ts'
import { LIMITS } from '../../core/limits.ts'
import type { InstanceLog } from './instance-log.ts'
import { LogTimes } from './log-times.ts'

const SETTLE_MS = 20
/** Of readers, and of the file where the kernel does not tell of changes. */
const POLL_MS = 1000
/** Where it does. */
const BACKSTOP_MS = 30_000

/** Watches one log while the server lives: notes when it grew, wakes its readers, keeps it within its bound. The supervisor does the last slowly. */
export class LogWatch {
  readonly #log: InstanceLog
  readonly #clock: Clock
  readonly #mayWrite: () => boolean
  readonly #times: LogTimes
  readonly #waiting = new Set<() => void>()
  #watcher: FSWatcher | null = null
  #poll: NodeJS.Timeout | null = null
  #settling: NodeJS.Timeout | null = null
  #noted = -1
  #length = 0
  #notes = 0
  #cutting = false

  /** `mayWrite`: only one process may write beside the log, or truncated bytes are counted twice; others just read along. */
  constructor(log: InstanceLog, clock: Clock, mayWrite: () => boolean = () => true) {
    this.#log = log
    this.#clock = clock
    this.#mayWrite = mayWrite
    this.#times = new LogTimes(log.file)
  }

  start(): void {
    if (this.#poll !== null) return
    // What came while nobody watched is at most as old as the file's last change.
    this.#look(lastChange(this.#log.file))
    let pollMs = BACKSTOP_MS
    try {
      this.#watcher = watch(this.#log.file, { persistent: false }, () => this.#soon())
      this.#watcher.on('error', () => {})
    } catch {
      // No inotify watches left: the poll does it alone.
      pollMs = POLL_MS
    }
    this.#poll = setInterval(() => this.#look(), pollMs).unref()
  }

  stop(): void {
    this.#watcher?.close()
    if (this.#poll !== null) clearInterval(this.#poll)
    if (this.#settling !== null) clearTimeout(this.#settling)
    this.#watcher = this.#poll = this.#settling = null
    this.wake()
  }

  /** Resolves when the log may have grown beyond `seen`, or the signal aborts; at the latest after a second. */
  changed(seen: number, signal: AbortSignal): Promise<void> {
    if (this.#noted > seen) return new Promise((resolve) => setImmediate(resolve))
    return new Promise((resolve) => {
      const done = () => {
        this.#waiting.delete(done)
        signal.removeEventListener('abort', done)
        clearTimeout(timer)
        resolve()
      }
      const timer = setTimeout(done, POLL_MS)
      this.#waiting.add(done)
      signal.addEventListener('abort', done, { once: true })
      if (signal.aborted) done()
    })
  }

  wake(): void {
    for (const resolve of [...this.#waiting]) resolve()
  }

  /** Looks at once, then at most every SETTLE_MS however much is written. */
  #soon(): void {
    if (this.#settling !== null) return
    this.#look()
    this.#settling = setTimeout(() => {
      this.#settling = null
      this.#look()
    }, SETTLE_MS).unref()
  }

  #look(at: number = this.#clock.now()): void {
    const length = this.#log.length()
    const before = this.#length
    this.#length = length
    if (this.#mayWrite()) this.#record(length, before, at)
    else this.#noted = this.#log.end()
    this.wake()
  }

  /** All that is ever written beside the log: what was cut, how long it was when, its bound. */
  #record(length: number, before: number, at: number): void {
    try {
      // `echo … > /dev/stderr` truncates a log that is a file. What stood there is lost, but positions must go on growing.
      if (length < before && !this.#cutting) this.#rebase(before)
      const end = this.#log.end()
      if (end === this.#noted) return
      this.#noted = end
      this.#times.note(end, at)
      this.#notes += 1
      if (this.#notes % 1000 === 0) this.#times.bound()
      this.#bound(end)
    } catch {
      // The directory is being removed, or the disk is full: the log itself is still there.
    }
  }

  #bound(end: number): void {
    const base = this.#log.base()
    const punched = readNumber(`${this.#log.file}.floor`)
    if (this.#cutting || end - base - punched <= LIMITS.instanceLogBytes * 1.25) return
    const floor = end - base - LIMITS.instanceLogBytes
    this.#cutting = true
    // The floor first: readers must never take the zeros of a hole for output.
    writeFileSync(`${this.#log.file}.floor`, `${floor}\n`, { mode: 0o600 })
    execFile('/usr/bin/fallocate', ['--punch-hole', '--offset', '0', '--length', String(floor), this.#log.file], { env: {} }, (error) => {
      this.#cutting = false
      if (error !== null) this.#cutToZero()
    })
  }

  #rebase(cut: number): void {
    writeFileSync(`${this.#log.file}.base`, `${this.#log.base() + cut}\n`, { mode: 0o600 })
    writeFileSync(`${this.#log.file}.floor`, '0\n', { mode: 0o600 })
  }

  /** In one tick, so that no reader here sees the one without the other. */
  #cutToZero(): void {
    try {
      this.#rebase(this.#log.length())
      truncateSync(this.#log.file)
      this.#length = 0
    } catch {
      // Removed meanwhile.
    }
  }
}

function lastChange(file: string): number {
  try {
    return statSync(file).mtimeMs
  } catch {
    return Date.now()
  }
}

function readNumber(file: string): number {
  try {
    return Number(readFileSync(file, 'latin1').trim()) || 0
  } catch {
    return 0
  }
}
