import { type FileHandle, mkdir, open, readFile, truncate } from 'node:fs/promises'
import { dirname } from 'node:path'
import { type ContainerEngine, isRefusal } from '../../container-engine/engine.ts'
import { frames } from '../../container-engine/engine-frames.ts'
import type { Clock } from '../../core/clock.ts'
import { LIMITS } from '../../core/limits.ts'
import { LogTimes } from '../process/log-times.ts'
import { reportTag, StartReports } from './start-reports.ts'

/** How far the engine's log was taken over: up to and with the `taken`-th line of time `at`; the file was `length` bytes long then. */
interface Cursor {
  readonly container: string
  readonly at: string
  readonly taken: number
  readonly length: number
}

const PENDING_BYTES = 1024 * 1024
const RETRY_MS = 500
const NOTHING = Buffer.alloc(0)

/**
 * Takes the output of one container over into a file of ours, which outlives the container, its restarts and its replacement. It follows
 * the engine's own bounded log; the place where it stands is written after what it took, so a server that dies goes on there: the file is
 * cut back to that place first, and the same lines come again at the same positions.
 */
export class ContainerLog {
  readonly file: string
  readonly reports: StartReports
  readonly #tag: Buffer
  readonly #engine: ContainerEngine
  readonly #name: string
  readonly #clock: Clock
  readonly #times: LogTimes
  #stop = new AbortController()
  #following: Promise<void> | null = null
  #isOpen = false
  #cursor: Cursor | null = null
  #isDrained = false
  /** Counts the starts, so that one during the last look is not missed. */
  #starts = 0
  readonly #waiting = new Set<() => void>()

  constructor(engine: ContainerEngine, name: string, file: string, clock: Clock) {
    this.file = file
    this.#engine = engine
    this.#name = name
    this.#clock = clock
    this.#times = new LogTimes(file)
    this.reports = new StartReports(file)
    this.#tag = Buffer.from(reportTag(name))
  }

  /** All that the container will say until it is started again is in the file. */
  get isDrained(): boolean {
    return this.#isDrained
  }

  /** Makes the file, cut back to what is surely in it; call before anybody reads it. */
  async open(): Promise<void> {
    if (this.#isOpen) return
    this.#isOpen = true
    await mkdir(dirname(this.file), { recursive: true, mode: 0o711 })
    await (await open(this.file, 'a', 0o600)).close()
    this.#cursor = await readCursor(this.file)
    if (this.#cursor !== null && (await lengthOf(this.file)) > this.#cursor.length) await truncate(this.file, this.#cursor.length)
  }

  /** Follows until the container has ended and all of it was read; again after each start. */
  follow(): void {
    this.#isDrained = false
    this.#starts += 1
    if (this.#following !== null || this.#stop.signal.aborted) return
    this.#following = this.#run().finally(() => {
      this.#following = null
      this.#wake()
    })
  }

  /** Lets go; nothing is lost. */
  async stop(): Promise<void> {
    this.#stop.abort()
    await this.#following
  }

  /** Resolves when the output of an ended container is in the file, at the latest after a bound. */
  async settle(): Promise<void> {
    if (this.#isDrained || this.#following === null) return
    const late = AbortSignal.any([this.#stop.signal, AbortSignal.timeout(LIMITS.containerLogSettleMs)])
    await new Promise<void>((resolve) => {
      const done = () => {
        this.#waiting.delete(done)
        resolve()
      }
      this.#waiting.add(done)
      late.addEventListener('abort', done, { once: true })
    })
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop
    await this.open()
    while (!signal.aborted) {
      try {
        const container = await this.#container()
        if (container === null) return this.#drained()
        await this.#take(container.id)
        // The stream ends with the container. Started again meanwhile: there is more.
        const starts = this.#starts
        const after = await this.#container()
        if (starts !== this.#starts) continue
        if (after === null || (!after.isRunning && after.finishedAt === container.finishedAt)) return this.#drained()
      } catch (error) {
        if (signal.aborted) return
        if (isRefusal(error, 404, 409)) return this.#drained()
        // The engine is away, or the disk is full: what was not taken over is still in the engine.
        await this.#clock.sleep(RETRY_MS, signal).catch(() => {})
      }
    }
  }

  async #container(): Promise<{ readonly id: string; readonly isRunning: boolean; readonly finishedAt: string } | null> {
    try {
      const { Id, State } = await this.#engine.json<{ Id: string; State: { Running: boolean; FinishedAt: string } }>(
        'GET',
        `/containers/${this.#name}/json`,
        { signal: this.#stop.signal },
      )
      return { id: Id, isRunning: State.Running, finishedAt: State.Running ? 'running' : State.FinishedAt }
    } catch (error) {
      if (isRefusal(error, 404)) return null
      throw error
    }
  }

  /** One stream of the engine, from the cursor to its end. */
  async #take(container: string): Promise<void> {
    const from = this.#cursor?.container === container ? this.#cursor : null
    const query = { stdout: true, stderr: true, timestamps: true, follow: true, ...(from === null ? {} : { since: unixTime(from.at) }) }
    const { body } = await this.#engine.stream('GET', `/containers/${container}/logs`, { query, signal: this.#stop.signal })
    const writer = new LogWriter(this.file, this.#times, (cursor) => {
      this.#cursor = cursor
    })
    await writer.open()
    try {
      // Lines of the cursor's own moment come again.
      let again = from?.taken ?? 0
      let at = from?.at ?? ''
      let taken = from?.taken ?? 0
      for await (const { data } of frames(body)) {
        const space = data.indexOf(0x20)
        if (space === -1) continue
        const time = data.toString('latin1', 0, space)
        if (from !== null && again > 0 && !isLater(time, from.at)) {
          if (time === from.at) again -= 1
          continue
        }
        taken = time === at ? taken + 1 : 1
        at = time
        const text = data.subarray(space + 1)
        const isReport = text.subarray(0, this.#tag.length).equals(this.#tag)
        if (isReport) await this.reports.add(text.toString('latin1', this.#tag.length))
        await writer.add(isReport ? NOTHING : text, { container, at, taken })
      }
    } finally {
      await writer.close()
    }
  }

  #drained(): void {
    this.#isDrained = true
    this.#wake()
  }

  #wake(): void {
    for (const resolve of [...this.#waiting]) resolve()
  }
}

/** Appends in batches: while one is being written, the next gathers. */
class LogWriter {
  readonly #file: string
  readonly #times: LogTimes
  readonly #onWritten: (cursor: Cursor) => void
  #log: FileHandle | null = null
  #cursor: FileHandle | null = null
  #length = 0
  #pending: Buffer[] = []
  #pendingBytes = 0
  #last: Omit<Cursor, 'length'> | null = null
  #writing: Promise<void> | null = null
  #failure: unknown = null

  constructor(file: string, times: LogTimes, onWritten: (cursor: Cursor) => void) {
    this.#file = file
    this.#times = times
    this.#onWritten = onWritten
  }

  async open(): Promise<void> {
    this.#log = await open(this.#file, 'a', 0o600)
    this.#length = (await this.#log.stat()).size
    this.#cursor = await open(`${this.#file}.cursor`, 'a+', 0o600).then(async (handle) => {
      await handle.close()
      return open(`${this.#file}.cursor`, 'r+')
    })
  }

  async add(data: Buffer, cursor: Omit<Cursor, 'length'>): Promise<void> {
    this.#pending.push(data)
    this.#pendingBytes += data.length
    this.#last = cursor
    this.#writing ??= this.#write()
    if (this.#pendingBytes > PENDING_BYTES) await this.#writing
    if (this.#failure !== null) throw this.#failure
  }

  async close(): Promise<void> {
    await this.#writing
    await this.#log?.close()
    await this.#cursor?.close()
    if (this.#failure !== null) throw this.#failure
  }

  async #write(): Promise<void> {
    try {
      while (this.#pending.length > 0 && this.#last !== null) {
        const batch = Buffer.concat(this.#pending)
        const last = this.#last
        this.#pending = []
        this.#pendingBytes = 0
        // Before the lines: a watcher of the file notes its own time for what nobody noted.
        this.#times.note(this.#length + batch.length + (await baseOf(this.#file)), Date.parse(last.at))
        await this.#log?.appendFile(batch)
        this.#length = (await this.#log?.stat())?.size ?? 0
        const cursor = { ...last, length: this.#length }
        // Of fixed length, so that a shorter one leaves nothing of a longer one behind.
        await this.#cursor?.write(`${JSON.stringify(cursor).padEnd(CURSOR_BYTES - 1)}\n`, 0)
        this.#onWritten(cursor)
      }
    } catch (error) {
      this.#failure = error
    } finally {
      this.#writing = null
    }
  }
}
const CURSOR_BYTES = 256

async function readCursor(file: string): Promise<Cursor | null> {
  try {
    return JSON.parse(await readFile(`${file}.cursor`, 'utf8')) as Cursor
  } catch {
    // None, or torn by a power cut: lines come twice rather than not at all.
    return null
  }
}

async function lengthOf(file: string): Promise<number> {
  const handle = await open(file, 'r')
  try {
    return (await handle.stat()).size
  } finally {
    await handle.close()
  }
}

async function baseOf(file: string): Promise<number> {
  return Number((await readFile(`${file}.base`, 'latin1').catch(() => '0')).trim()) || 0
}

/** `2026-11-21T12:00:00.123456789Z` as the engine wants it back: `1795262400.123456789`. */
function unixTime(at: string): string {
  const fraction = /\.(\d+)/.exec(at)?.[1] ?? '0'
  const whole = at.replace(/\.\d+/, '')
  return `${Math.floor(Date.parse(whole) / 1000)}.${fraction.padEnd(9, '0')}`
}

function isLater(a: string, b: string): boolean {
  const [aSeconds = '', aFraction = ''] = unixTime(a).split('.')
  const [bSeconds = '', bFraction = ''] = unixTime(b).split('.')
  return Number(aSeconds) > Number(bSeconds) || (aSeconds === bSeconds && aFraction > bFraction)
}
