import { readFileSync, statSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { LIMITS } from '../../core/limits.ts'
import { lastState } from '../../core/lines.ts'
import { printable } from '../../core/printable.ts'
import type { InstanceLogLine, InstanceLogOptions } from '../runtime.ts'
import { LogTimes } from './log-times.ts'

const NEWLINE = 0x0a
const RETURN = 0x0d

/**
 * An instance's log file, written by the app itself (O_APPEND) and never renamed: an app that runs for months keeps its descriptor.
 * It is bounded by punching holes: what lies before the floor gives its blocks back while the file keeps its length, so a position in
 * the file stays the position of that line for ever. Where a file system can't punch, the file is cut to zero instead and `base` grows
 * by what was cut; lines written between the last look and the cut are lost then.
 */
export class InstanceLog {
  readonly file: string

  constructor(file: string) {
    this.file = file
  }

  /** Offset of the end of what is written; 0 when there is no log. */
  end(): number {
    return this.base() + this.length()
  }

  length(): number {
    try {
      return statSync(this.file).size
    } catch {
      return 0
    }
  }

  base(): number {
    return readNumber(`${this.file}.base`)
  }

  /** First offset that can still be read. The app may truncate or stretch its own file, so the bound is applied here, too. */
  floor(): number {
    const base = this.base()
    return Math.max(base, base + readNumber(`${this.file}.floor`), this.end() - 2 * LIMITS.instanceLogBytes)
  }

  /**
   * Lines after `options.after`. With `follow` it goes on over restarts of the instance until the signal aborts or `isOver` says that
   * nothing can come any more. `changed` resolves when the file may have grown; `isRunning` tells whether an unfinished last line may still grow.
   */
  async *lines(options: InstanceLogOptions, source: LogSource): AsyncGenerator<InstanceLogLine> {
    const times = new LogTimes(this.file)
    let position = options.after ?? 0
    if (options.tail !== null) position = Math.max(position, await this.#tailStart(options.tail))
    while (!options.signal.aborted) {
      // Asked before reading: what had ended before we read has written all that we then read.
      const isComplete = !source.isRunning()
      const seen = this.end()
      const floor = this.floor()
      if (position < floor) {
        const dropped = floor - position
        position = await this.#lineStartAfter(floor)
        if (options.after !== null)
          yield line(position, times, `shiplock: ${dropped} bytes of older output were dropped to keep the log bounded`)
      }
      for await (const [text, offset] of this.#read(position, isComplete, options.signal)) {
        position = offset
        if (text !== null) yield line(offset, times, text)
      }
      if (!options.follow || source.isOver()) return
      await source.changed(seen, options.signal)
    }
  }

  async *#read(from: number, isComplete: boolean, signal: AbortSignal): AsyncGenerator<readonly [string | null, number]> {
    const file = await openOrNull(this.file)
    if (file === null) return
    try {
      const base = this.base()
      let position = from
      // The end is taken once: an app that writes faster than we read would never let this return otherwise.
      const end = base + (await file.stat()).size
      while (position < end && !signal.aborted) {
        const chunk = Buffer.alloc(Math.min(LIMITS.logChunkBytes, end - position))
        const { bytesRead } = await file.read(chunk, 0, chunk.length, position - base)
        const cut = cutLines(chunk.subarray(0, bytesRead), isComplete && position + bytesRead >= end)
        for (const piece of cut) {
          position += piece.bytes
          yield [piece.text === null ? null : printable(lastState(piece.text)), position]
        }
        if (cut.length === 0) return
      }
    } finally {
      await file.close()
    }
  }

  async #tailStart(count: number): Promise<number> {
    const file = await openOrNull(this.file)
    if (file === null) return 0
    try {
      const base = this.base()
      const floor = this.floor()
      let position = base + (await file.stat()).size
      let found = -1
      while (position > floor) {
        const size = Math.min(LIMITS.logChunkBytes, position - floor)
        const chunk = Buffer.alloc(size)
        await file.read(chunk, 0, size, position - size - base)
        // The last line's own end does not count, hence -1 to begin with; an unfinished last line counts as one.
        if (found === -1 && chunk[size - 1] !== NEWLINE) found = 0
        for (let at = chunk.lastIndexOf(NEWLINE); at !== -1; at = at === 0 ? -1 : chunk.lastIndexOf(NEWLINE, at - 1)) {
          found += 1
          if (found === count) return position - size + at + 1
        }
        position -= size
      }
      return floor
    } finally {
      await file.close()
    }
  }

  /** The floor may lie within a line; reading begins at the next one. */
  async #lineStartAfter(offset: number): Promise<number> {
    const file = await openOrNull(this.file)
    if (file === null || offset === this.base()) return offset
    try {
      const chunk = Buffer.alloc(LIMITS.logChunkBytes)
      const { bytesRead } = await file.read(chunk, 0, chunk.length, offset - this.base())
      const at = chunk.subarray(0, bytesRead).indexOf(NEWLINE)
      return at === -1 ? offset : offset + at + 1
    } finally {
      await file.close()
    }
  }
}

export interface LogSource {
  isRunning(): boolean
  isOver(): boolean
  /** Resolves when the log has grown beyond `seen`, or should be looked at anyway. */
  changed(seen: number, signal: AbortSignal): Promise<void>
}

/**
 * Whole lines of a chunk; a line over the bound is cut into several, an unfinished one is left for later unless nothing can follow it.
 * null = what a progress bar wrote and went back over: only its last state is a line.
 */
export function cutLines(chunk: Buffer, isLast: boolean): readonly { readonly text: string | null; readonly bytes: number }[] {
  const pieces: { text: string | null; bytes: number }[] = []
  let from = 0
  while (from < chunk.length) {
    const newline = chunk.indexOf(NEWLINE, from)
    const end = newline === -1 ? chunk.length : newline
    if (end - from > LIMITS.logLineBytes) {
      const returned = chunk.lastIndexOf(RETURN, from + LIMITS.logLineBytes - 1)
      if (returned >= from && returned + 1 < end) {
        pieces.push({ text: null, bytes: returned + 1 - from })
        from = returned + 1
        continue
      }
      const at = characterBoundary(chunk, from + LIMITS.logLineBytes)
      pieces.push({ text: chunk.toString('utf8', from, at), bytes: at - from })
      from = at
      continue
    }
    if (newline === -1 && !isLast) break
    const next = newline === -1 ? end : end + 1
    const withoutReturn = end > from && chunk[end - 1] === 0x0d ? end - 1 : end
    pieces.push({ text: chunk.toString('utf8', from, withoutReturn), bytes: next - from })
    from = next
  }
  return pieces
}

/** `at`, or a little before, so that no character of several bytes is cut. */
function characterBoundary(chunk: Buffer, at: number): number {
  for (let back = 0; back < 4; back++) if (((chunk[at - back] ?? 0) & 0xc0) !== 0x80) return at - back
  return at
}

function line(offset: number, times: LogTimes, text: string): InstanceLogLine {
  return { offset, at: new Date(times.at(offset) ?? Date.now()).toISOString(), text }
}

async function openOrNull(file: string): Promise<FileHandle | null> {
  try {
    return await open(file, 'r')
  } catch {
    return null
  }
}

function readNumber(file: string): number {
  try {
    return Number(readFileSync(file, 'latin1').trim()) || 0
  } catch {
    return 0
  }
}
