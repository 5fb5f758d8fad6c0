import { statfs } from 'node:fs/promises'
import { bytesWritten, measureDisk, signalProcesses, usage } from '../../core/disk-use.ts'
import type { DiskRegistry, DiskWriter } from '../../core/disk-writer.ts'
import { LIMITS } from '../../core/limits.ts'
import { formatBytes } from '../../domain/format-bytes.ts'
import type { ProjectId } from '../../domain/ids.ts'

export interface DiskWatchOptions {
  /** What belongs to the build alone: all of it counts. */
  readonly own: string
  /** Shared with other builds: what is added while this one runs counts. null = none. */
  readonly shared: string | null
  readonly bytesMax: number
  /** Who guards the volume and may end this build for its sake; null, the default = the reserve is this one's matter. */
  readonly registry?: DiskRegistry | null
  /** Of the build, for the registry. */
  readonly name?: string
  readonly projectId?: ProjectId
  readonly processes?: () => readonly number[]
  /** Bytes that must stay free on the volume. */
  readonly reserveBytes?: number
  readonly pollMs?: number
}

/** Share of the time that measuring may take: a tree of a million files takes a while to add up. */
const MEASURE_SHARE = 0.1
/** Shorter commands can't have filled a disk since the last look. */
const UNSEEN_MS = 250

/**
 * Holds a build to its share of the disk, by looking: file systems without quotas know no limit per directory. `signal` fires once the
 * build has passed its bound or the volume is nearly full; `reason` says which, naming the limit. A fast writer can pass the bound by
 * what it writes between two looks.
 */
export class DiskWatch {
  readonly #options: DiskWatchOptions
  readonly #exceeded = new AbortController()
  #sharedBefore = 0
  #reason: string | null = null
  #timer: NodeJS.Timeout | null = null
  #measuring: Promise<void> = Promise.resolve()
  #startedAt = 0
  #takeOff: (() => void) | null = null

  constructor(options: DiskWatchOptions) {
    this.#options = options
  }

  get signal(): AbortSignal {
    return this.#exceeded.signal
  }

  get reason(): string | null {
    return this.#reason
  }

  /** Before the first command: what the shared directory has by then is not the build's. */
  async open(): Promise<void> {
    if (this.#options.shared !== null) [this.#sharedBefore = 0] = await usage([this.#options.shared])
  }

  start(): void {
    this.#startedAt = performance.now()
    this.#takeOff ??= this.#options.registry?.add(this.#writer()) ?? null
    this.#schedule(this.#options.pollMs ?? LIMITS.buildDiskPollMs)
  }

  /** Resolves when no look is under way any more; the last one has seen all that the command wrote. */
  async stop(): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    this.#takeOff?.()
    this.#takeOff = null
    await this.#measuring
    if (performance.now() - this.#startedAt >= UNSEEN_MS) await this.#look()
    await this.#lookForTheEnd()
  }

  #schedule(afterMs: number): void {
    this.#timer = setTimeout(() => {
      this.#measuring = (async () => {
        const began = performance.now()
        await this.#look()
        const took = performance.now() - began
        if (this.#timer !== null && this.#reason === null) this.#schedule(Math.max(afterMs, took / MEASURE_SHARE))
      })()
    }, afterMs)
  }

  async #look(): Promise<void> {
    if (this.#reason !== null) return
    const { own, bytesMax, registry = null, reserveBytes = LIMITS.buildDiskReserveBytes } = this.#options
    const used = await this.#used()
    if (used > bytesMax) this.#reason = `it uses ${formatBytes(used)} on disk, its limit is ${formatBytes(bytesMax)}`
    else if (registry === null) {
      const { bavail, bsize } = await statfs(own)
      const free = bavail * bsize
      if (free < reserveBytes) {
        this.#reason = `the volume of the data directory has ${formatBytes(free)} left, ${formatBytes(reserveBytes)} must stay free`
      }
    }
    if (this.#reason !== null) this.#exceeded.abort(new Error(this.#reason))
  }

  /** A fast writer meets the end of the volume before whoever guards it has seen it: then it is this build that filled it. */
  async #lookForTheEnd(): Promise<void> {
    const { own, registry = null } = this.#options
    if (this.#reason !== null || registry === null) return
    const { bavail, bsize } = await statfs(own)
    const free = bavail * bsize
    if (free >= LIMITS.diskEndBytes) return
    const used = await this.#used()
    if (used > free) this.#reason = `it filled the disk: it uses ${formatBytes(used)}, and ${formatBytes(free)} are left`
  }

  async #used(): Promise<number> {
    const { own, shared } = this.#options
    const [ownBytes = 0, sharedBytes = 0] = await usage(shared === null ? [own] : [own, shared])
    return ownBytes + Math.max(0, sharedBytes - this.#sharedBefore)
  }

  #writer(): DiskWriter {
    const { own, name = own, projectId = '' as ProjectId, processes = () => [] } = this.#options
    return {
      id: name,
      projectId,
      place: 'data',
      // Held to its own limit by the looks here.
      limitBytes: null,
      isRunning: true,
      written: () => bytesWritten(processes()),
      pause: () => signalProcesses(processes, 'SIGSTOP'),
      resume: () => signalProcesses(processes, 'SIGCONT'),
      measure: async () => {
        const [bytes, { files, bytes: all }] = await Promise.all([this.#used(), measureDisk([own], processes())])
        return { bytes: Math.max(bytes, all), files }
      },
      end: async (reason) => {
        this.#reason ??= reason
        this.#exceeded.abort(new Error(reason))
      },
    }
  }
}
