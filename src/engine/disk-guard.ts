import type { Clock } from '../core/clock.ts'
import type { DiskPlace, DiskRegistry, DiskUse, DiskWriter } from '../core/disk-writer.ts'
import { eachLimited } from '../core/each-limited.ts'
import { LIMITS } from '../core/limits.ts'
import type { Logger } from '../core/log.ts'
import type { Service } from '../core/service.ts'
import {
  type DiskReserve,
  type KnownUse,
  type Measured,
  mayBeOver,
  nextLookMs,
  overLimit,
  overProject,
  reserveOn,
  type Sentence,
  shortageOf,
  type VolumeSpace,
  whomToStop,
} from '../domain/disk.ts'
import type { ProjectId } from '../domain/ids.ts'

export interface GuardedVolume extends VolumeSpace {
  readonly places: readonly DiskPlace[]
}

export interface DiskGuardParts {
  readonly clock: Clock
  readonly logger: Logger
  /** The volumes that tenants write to; one that stands there twice is looked at once. */
  readonly volumes: () => Promise<readonly GuardedVolume[]>
  /** What runs or is kept now, besides what has announced itself. */
  readonly writers: () => Promise<readonly DiskWriter[]>
  readonly reserve: DiskReserve
  /** Of all instances of a project together; null = half of the volume. */
  readonly projectBytes: number | null
  /** Told after a writer was ended. */
  readonly onEnded: (writer: DiskWriter, reason: string) => Promise<void>
}

/** How long two counts of written bytes are apart that tell who writes now. */
const SAMPLE_MS = 30
/** Slower ones are not the ones who fill a disk within seconds. */
const BUSY_BYTES = 256 * 1024
const MEASURE_AT_ONCE = 4
const NOTHING: DiskUse = { bytes: 0, files: 0 }
/** Times the reserve. */
const NEAR = 3
/** So much less since a fruitless attempt means that somebody writes now. */
const LOSS = { bytes: 4 * 1024 ** 2, files: 1000 }
const LOOKS = {
  bytesPerSecond: LIMITS.diskBytesPerSecond,
  filesPerSecond: LIMITS.diskFilesPerSecond,
  minMs: LIMITS.diskLookMinMs,
  maxMs: LIMITS.diskLookMaxMs,
}

/** Of the time that a patrol takes, for each it measures. */
const PATROL_REST = 10

interface VolumeState {
  readonly space: GuardedVolume
  /** Bytes and files that it took in since the start, all growth added up. */
  readonly intake: number
  readonly files: number
  /** The same when writers were last asked. */
  readonly asked: { readonly intake: number; readonly files: number }
  readonly patrolAt: number
}

interface Last extends KnownUse {
  readonly files: number
}

/**
 * Holds tenants to their share of the disk on file systems without quotas (I13). A look is one `statfs` per volume, and comes the earlier
 * the less is free; writers are measured only when a volume took in enough for one to be over its limit. Below the reserve whoever writes
 * is paused and measured, and who filled the disk is ended, so that the database never finds it full.
 */
export class DiskGuard implements Service, DiskRegistry {
  readonly #parts: DiskGuardParts
  readonly #announced = new Set<DiskWriter>()
  readonly #known = new Map<string, Last>()
  readonly #space = new Map<string, VolumeState>()
  /** Who was there when the guard first looked. */
  #old: ReadonlySet<string> | null = null
  /** What writers had written at the last look near the reserve. */
  readonly #samples = new Map<string, number>()
  readonly #background = new Map<string, Promise<void>>()
  #stopping: AbortController | null = null
  #loop: Promise<void> = Promise.resolve()
  /** The last attempt to make room found nobody: another waits for time or for further loss. */
  #fruitless: { readonly until: number; readonly free: number } | null = null
  #short: string | null = null

  constructor(parts: DiskGuardParts) {
    this.#parts = parts
  }

  /** What is short and could not be mended; null = nothing. */
  get shortage(): string | null {
    return this.#short
  }

  add(writer: DiskWriter): () => void {
    this.#announced.add(writer)
    return () => {
      this.#announced.delete(writer)
      this.#known.delete(writer.id)
    }
  }

  async start(): Promise<void> {
    if (this.#stopping !== null) return
    this.#stopping = new AbortController()
    this.#loop = this.#run(this.#stopping.signal)
  }

  async stop(): Promise<void> {
    this.#stopping?.abort()
    this.#stopping = null
    await this.#loop
    await Promise.all(this.#background.values())
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { clock, logger } = this.#parts
    while (!signal.aborted) {
      let waitMs: number = LIMITS.diskLookMaxMs
      try {
        waitMs = await this.#look(signal)
      } catch (error) {
        if (!signal.aborted) logger.warn('a look at the disk failed', { error })
      }
      await clock.sleep(waitMs, signal).catch(() => {})
    }
  }

  /** Returns the time until the next look. */
  async #look(signal: AbortSignal): Promise<number> {
    let waitMs: number = LIMITS.diskLookMaxMs
    let short: string | null = null
    for (const space of await this.#parts.volumes()) {
      const reserve = reserveOn(space, this.#parts.reserve)
      this.#note(space)
      const of = shortageOf(space, reserve)
      // Near the reserve it is known beforehand who writes, so that below it nothing has to be waited for.
      if (of === null && space.freeBytes < reserve.bytes * NEAR) await this.#sample(space.path)
      if (of !== null) short = await this.#relieve(space.path, reserve, of)
      else this.#sweepIfDue(space.path, signal)
      waitMs = Math.min(waitMs, nextLookMs(space, reserve, LOOKS))
    }
    this.#tell(short)
    return waitMs
  }

  #tell(short: string | null): void {
    if (short !== null && this.#short === null) this.#parts.logger.error('the disk is short', { reason: short })
    if (short === null && this.#short !== null) this.#parts.logger.info('the disk has room again')
    this.#short = short
  }

  #note(space: GuardedVolume): void {
    const before = this.#space.get(space.path)
    const { intake, files } = before ?? { intake: 0, files: 0 }
    this.#space.set(space.path, {
      space,
      intake: intake + Math.max(0, (before ?? { space }).space.freeBytes - space.freeBytes),
      files: files + Math.max(0, (before ?? { space }).space.freeFiles - space.freeFiles),
      asked: before?.asked ?? { intake, files },
      patrolAt: before?.patrolAt ?? this.#parts.clock.monotonic(),
    })
  }

  /** In the background: looks must go on while trees are added up. */
  #sweepIfDue(path: string, signal: AbortSignal): void {
    const state = this.#space.get(path)
    if (state === undefined) return
    const now = this.#parts.clock.monotonic()
    const { intake, files, asked } = state
    if (intake - asked.intake >= LIMITS.diskSweepBytes || files - asked.files >= LIMITS.diskSweepFiles) {
      const begun = this.#inBackground('sweep', () => this.#hold(path, signal))
      if (begun) this.#space.set(path, { ...state, asked: { intake, files } })
    }
    if (now >= state.patrolAt && this.#inBackground('patrol', () => this.#patrol(path, signal)))
      this.#space.set(path, { ...(this.#space.get(path) ?? state), patrolAt: now + LIMITS.diskPatrolMs })
  }

  /** One of each kind at a time; false = it still goes on. */
  #inBackground(kind: string, work: () => Promise<void>): boolean {
    if (this.#background.has(kind)) return false
    const ended = work()
      .catch((error: unknown) => this.#parts.logger.warn('measuring what tenants have on disk failed', { error }))
      .finally(() => this.#background.delete(kind))
    this.#background.set(kind, ended)
    return true
  }

  /** Ends whoever is over its own limit or has brought its project over that of the project. */
  async #hold(path: string, signal: AbortSignal): Promise<void> {
    const writers = await this.#writersOn(path)
    const intake = this.#space.get(path)?.intake ?? 0
    for (const writer of writers) {
      const known = this.#known.get(writer.id) ?? null
      // Who was never measured is: growth can only be told from two measurements.
      if (signal.aborted || !writer.isRunning || (known !== null && !mayBeOver(known, writer.limitBytes, intake))) continue
      await this.#holdOne(writer, path)
    }
    for (const project of new Set(writers.map((one) => one.projectId))) {
      if (!signal.aborted) await this.#holdProject(project, path, intake)
    }
  }

  /** Everybody, without haste: what grew while others gave back the same was not seen by the sum. */
  async #patrol(path: string, signal: AbortSignal): Promise<void> {
    const { clock } = this.#parts
    for (const writer of await this.#writersOn(path)) {
      if (signal.aborted) return
      const began = clock.monotonic()
      if (writer.isRunning) await this.#holdOne(writer, path)
      await clock.sleep((clock.monotonic() - began) * PATROL_REST, signal).catch(() => {})
    }
  }

  async #holdOne(writer: DiskWriter, path: string): Promise<void> {
    const sentence = overLimit(await this.#measure(writer, path), writer.limitBytes)
    if (sentence !== null) await this.#end(writer, sentence.reason)
  }

  async #holdProject(project: ProjectId, path: string, intake: number): Promise<void> {
    const writers = (await this.#writersOn(path)).filter((one) => one.projectId === project)
    const maxBytes = this.#parts.projectBytes ?? (this.#space.get(path)?.space.totalBytes ?? Number.MAX_SAFE_INTEGER) / 2
    const known = writers.map((one) => this.#known.get(one.id) ?? null)
    const sum = known.reduce((total, one) => total + (one?.bytes ?? 0), 0)
    const oldest = Math.min(intake, ...known.map((one) => one?.intake ?? 0))
    if (sum + (intake - oldest) <= maxBytes) return
    const measured: Measured[] = []
    for (const writer of writers) measured.push(await this.#measure(writer, path))
    const running = new Set(writers.filter((one) => one.isRunning).map((one) => one.id))
    const bounded = new Set(writers.filter((one) => one.limitBytes !== null).map((one) => one.id))
    const sentence = overProject(measured, { running, bounded }, maxBytes)
    const guilty = writers.find((one) => one.id === sentence?.id)
    if (guilty !== undefined && sentence !== null) await this.#end(guilty, sentence.reason)
  }

  /** Below the reserve: who writes now is paused and measured first, then everybody. Returns why there is still no room. */
  async #relieve(path: string, reserve: DiskReserve, of: 'bytes' | 'files'): Promise<string | null> {
    const { clock } = this.#parts
    const space = this.#space.get(path)?.space
    const left = `${of === 'bytes' ? `${Math.max(0, space?.freeBytes ?? 0)} bytes` : `${space?.freeFiles ?? 0} inodes`} are left on ${path}`
    const free = (of === 'bytes' ? space?.freeBytes : space?.freeFiles) ?? 0
    const { until, free: freeThen } = this.#fruitless ?? { until: 0, free: Number.MAX_SAFE_INTEGER }
    if (clock.monotonic() < until && freeThen - free < LOSS[of]) return left
    const writers = (await this.#writersOn(path)).filter((one) => one.isRunning)
    const busy = await this.#busyOf(writers)
    // Who grows can only be told from two measurements.
    await eachLimited(
      busy.filter((one) => !this.#known.has(one.id) && this.#old?.has(one.id) === true),
      MEASURE_AT_ONCE,
      async (writer) => void (await this.#measure(writer, path)),
    )
    for (const writer of busy) writer.pause()
    try {
      const first = await this.#judge(busy, path, reserve, of)
      const guilty = first.length > 0 ? first : await this.#judge(writers, path, reserve, of)
      await Promise.all(
        guilty.map(async ({ id, reason }) => {
          const writer = writers.find((one) => one.id === id)
          if (writer !== undefined) await this.#end(writer, reason)
        }),
      )
      if (guilty.length > 0) return null
    } finally {
      for (const writer of busy) writer.resume()
    }
    this.#fruitless = { until: clock.monotonic() + LIMITS.diskRelieveMs, free }
    return left
  }

  async #sample(path: string): Promise<void> {
    const running = (await this.#writersOn(path)).filter((one) => one.isRunning)
    this.#samples.clear()
    for (const one of running) this.#samples.set(one.id, one.written())
  }

  /** Those that write now, the fastest first. */
  async #busyOf(writers: readonly DiskWriter[]): Promise<DiskWriter[]> {
    if (writers.some((one) => !this.#samples.has(one.id))) {
      for (const one of writers) this.#samples.set(one.id, one.written())
      await this.#parts.clock.sleep(SAMPLE_MS)
    }
    const before = new Map(this.#samples)
    this.#samples.clear()
    return writers
      .map((writer) => ({ writer, bytes: writer.written() - (before.get(writer.id) ?? 0) }))
      .filter(({ bytes }) => bytes >= BUSY_BYTES)
      .toSorted((a, b) => b.bytes - a.bytes)
      .map(({ writer }) => writer)
  }

  async #judge(writers: readonly DiskWriter[], path: string, reserve: DiskReserve, of: 'bytes' | 'files'): Promise<Sentence[]> {
    const before = new Map(writers.map((one) => [one.id, this.#known.get(one.id)]))
    const measured: Measured[] = []
    await eachLimited(writers, MEASURE_AT_ONCE, async (writer) => {
      measured.push(await this.#measure(writer, path, before.get(writer.id)))
    })
    const space = (await this.#parts.volumes()).find((one) => one.path === path)
    return space === undefined ? [] : whomToStop(measured, { of, volume: space, reserve })
  }

  async #measure(writer: DiskWriter, path: string, before = this.#known.get(writer.id)): Promise<Measured> {
    const intake = this.#space.get(path)?.intake ?? 0
    const use: DiskUse = await writer.measure().catch(() => before ?? NOTHING)
    // What was there before the guard is taken as it is; who came later and was never measured has written all of it since.
    const base = before ?? (this.#old?.has(writer.id) === false ? NOTHING : use)
    this.#known.set(writer.id, { bytes: use.bytes, files: use.files, intake })
    const { id, projectId } = writer
    return { id, projectId, ...use, grownBytes: use.bytes - base.bytes, grownFiles: use.files - base.files }
  }

  async #end(writer: DiskWriter, reason: string): Promise<void> {
    this.#parts.logger.warn('stopped for what it wrote', { id: writer.id, reason })
    await writer.end(reason)
    this.#known.delete(writer.id)
    await this.#parts.onEnded(writer, reason).catch((error: unknown) => this.#parts.logger.warn('an event was lost', { error }))
  }

  async #writersOn(path: string): Promise<DiskWriter[]> {
    const places = this.#space.get(path)?.space.places ?? []
    const all = [...this.#announced, ...(await this.#parts.writers())]
    const living = new Set(all.map((one) => one.id))
    this.#old ??= living
    for (const id of this.#known.keys()) if (!living.has(id)) this.#known.delete(id)
    return all.filter((one) => places.includes(one.place))
  }
}
