import type { ProjectId } from '../domain/ids.ts'

/** Blocks and inodes that something really holds; sparse files count what they have on disk. */
export interface DiskUse {
  readonly bytes: number
  readonly files: number
}

/** Below the data directory, or where the container engine keeps what containers write. */
export type DiskPlace = 'data' | 'engine'

/** Something of a tenant that writes to a volume of this host: an instance, a one-off command, a build. */
export interface DiskWriter {
  readonly id: string
  readonly projectId: ProjectId
  readonly place: DiskPlace
  /** null = none of its own: only the volume bounds it. */
  readonly limitBytes: number | null
  /** False = it keeps what it wrote and writes nothing now. */
  readonly isRunning: boolean
  /** Bytes that its living processes have written anywhere, as far as the kernel counts them. Says who is busy, not who grows. */
  written(): number
  /** Stops its processes where they stand, so that they can be looked at. */
  pause(): void
  resume(): void
  /** Deleted files that are still open count. */
  measure(): Promise<DiskUse>
  /** Ends it at once; what it wrote is given back. It, or whoever waits for it, tells the reason. */
  end(reason: string): Promise<void>
}

/** Where writers announce themselves that come and go, as builds do. */
export interface DiskRegistry {
  /** Returns what takes it off again. */
  add(writer: DiskWriter): () => void
}
