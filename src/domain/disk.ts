import { formatBytes } from './format-bytes.ts'

/** What `statfs` says of a volume, as the tenants' users see it: what is reserved for root is not free. */
export interface VolumeSpace {
  readonly path: string
  readonly totalBytes: number
  readonly freeBytes: number
  /** 0 = the file system has no fixed number of them. */
  readonly totalFiles: number
  readonly freeFiles: number
}

/** What must stay free for the database and the edge. */
export interface DiskReserve {
  readonly bytes: number
  readonly files: number
}

/** A reserve that small volumes can have, too. */
export function reserveOn(volume: VolumeSpace, wanted: DiskReserve): DiskReserve {
  return { bytes: Math.min(wanted.bytes, volume.totalBytes * 0.2), files: Math.min(wanted.files, volume.totalFiles * 0.05) }
}

/** What is short on a volume; null = nothing. */
export function shortageOf(volume: VolumeSpace, reserve: DiskReserve): 'bytes' | 'files' | null {
  if (volume.freeBytes < reserve.bytes) return 'bytes'
  return volume.totalFiles > 0 && volume.freeFiles < reserve.files ? 'files' : null
}

/** When to look again: before writers of that speed could have come to the reserve. */
export function nextLookMs(
  volume: VolumeSpace,
  reserve: DiskReserve,
  bounds: { readonly bytesPerSecond: number; readonly filesPerSecond: number; readonly minMs: number; readonly maxMs: number },
): number {
  const untilBytes = (volume.freeBytes - reserve.bytes) / bounds.bytesPerSecond
  const untilFiles = volume.totalFiles === 0 ? untilBytes : (volume.freeFiles - reserve.files) / bounds.filesPerSecond
  return Math.round(Math.min(bounds.maxMs, Math.max(bounds.minMs, Math.min(untilBytes, untilFiles) * 1000)))
}

/** The last that is known of a writer. */
export interface KnownUse {
  readonly bytes: number
  /** What the volume had taken in by then, all growth added up. */
  readonly intake: number
}

/** Nobody can have grown by more than the volume took in: who can't be over its limit is not measured. */
export function mayBeOver(known: KnownUse | null, limitBytes: number | null, intake: number): boolean {
  return limitBytes !== null && (known === null || known.bytes + (intake - known.intake) > limitBytes)
}

/** One writer as it was just measured. */
export interface Measured {
  readonly id: string
  readonly projectId: string
  readonly bytes: number
  readonly files: number
  /** Since it was measured before; 0 when it never was. */
  readonly grownBytes: number
  readonly grownFiles: number
}

export interface Shortage {
  readonly of: 'bytes' | 'files'
  readonly volume: VolumeSpace
  readonly reserve: DiskReserve
}

export interface Sentence {
  readonly id: string
  readonly reason: string
}

/** Growth below it is nobody's fault: a log line, a socket file. */
const SMALL_BYTES = 4 * 1024 ** 2
const SMALL_FILES = 1000
/** Of what all have grown; who has less is not the one who filled the disk. */
const SHARE = 0.2

/**
 * Who is stopped so that the reserve is free again: whoever has grown most since it was last looked at, until enough comes back. Nobody,
 * where nobody of them has grown: then it is not the tenants who fill the disk, and stopping one would help no one.
 */
export function whomToStop(measured: readonly Measured[], { of, volume, reserve }: Shortage): Sentence[] {
  const grown = (one: Measured) => (of === 'bytes' ? one.grownBytes : one.grownFiles)
  const held = (one: Measured) => (of === 'bytes' ? one.bytes : one.files)
  const least = of === 'bytes' ? SMALL_BYTES : SMALL_FILES
  const all = measured.reduce((sum, one) => sum + Math.max(0, grown(one)), 0)
  let missing = of === 'bytes' ? reserve.bytes - volume.freeBytes : reserve.files - volume.freeFiles
  const stopped: Sentence[] = []
  for (const one of measured.toSorted((a, b) => grown(b) - grown(a))) {
    if (missing <= 0 || grown(one) < least || grown(one) < all * SHARE) break
    missing -= held(one)
    stopped.push({ id: one.id, reason: fillsDisk(one, of, reserve) })
  }
  return stopped
}

function fillsDisk(one: Measured, of: Shortage['of'], reserve: DiskReserve): string {
  return of === 'bytes'
    ? `it filled the disk: it grew by ${formatBytes(one.grownBytes)} to ${formatBytes(one.bytes)}, and ${formatBytes(reserve.bytes)} must stay free for the database and the edge`
    : `it filled the disk: it made ${one.grownFiles} files, and ${Math.round(reserve.files)} more must be possible for the database and the edge`
}

/** Who is over its own limit. */
export function overLimit(one: Measured, limitBytes: number | null): Sentence | null {
  if (limitBytes === null || one.bytes <= limitBytes) return null
  return {
    id: one.id,
    reason: `it uses ${formatBytes(one.bytes)} on disk, its limit is ${formatBytes(limitBytes)} (run.diskMb, SHIPLOCK_INSTANCE_DISK_MB)`,
  }
}

/**
 * Who brought its project over what it may use: of those that run, the one that grew most; where none was seen to grow, the largest of
 * those that were started under a limit (`bounded`): what an earlier version started is not ended for what it always had.
 */
export function overProject(
  measured: readonly Measured[],
  { running, bounded }: { readonly running: ReadonlySet<string>; readonly bounded: ReadonlySet<string> },
  maxBytes: number,
): Sentence | null {
  const total = measured.reduce((sum, one) => sum + one.bytes, 0)
  if (total <= maxBytes) return null
  const alive = measured.filter((one) => running.has(one.id))
  const [grown] = alive.filter((one) => one.grownBytes >= SMALL_BYTES).toSorted((a, b) => b.grownBytes - a.grownBytes)
  const [large] = alive.filter((one) => bounded.has(one.id)).toSorted((a, b) => b.bytes - a.bytes)
  const guilty = grown ?? large
  if (guilty === undefined) return null
  return {
    id: guilty.id,
    reason: `the instances of its project use ${formatBytes(total)} on disk, their limit is ${formatBytes(maxBytes)} (SHIPLOCK_PROJECT_DISK_MB), and it ${grown === undefined ? 'has' : 'grew'} most`,
  }
}
