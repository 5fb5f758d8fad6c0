import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { setImmediate as breathe } from 'node:timers/promises'
import { ShiplockError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { walkTree } from '../core/walk-tree.ts'
import type { Artifact } from '../domain/deployment.ts'
import { readImage } from './image-layers.ts'
import { LeakMatcher } from './leak-matcher.ts'
import type { Leak, LeakReport, LeakRequest, LeakScanner } from './leak-scanner.ts'

export interface LeakScannerOptions {
  /** The image as `docker save` writes it; null = it is not on this host. */
  readonly saveImage: (artifact: Extract<Artifact, { kind: 'image' }>, signal: AbortSignal) => Promise<AsyncIterable<Buffer> | null>
  /** Default LIMITS.leakScanBytes. */
  readonly bytesMax?: number
}

const CHUNK_BYTES = 256 * 1024

/** Reads every byte of what would go live once, in bounded memory, and lets others work in between. */
export function createLeakScanner(options: LeakScannerOptions): LeakScanner {
  return {
    scan: async (request) => {
      const matcher = await LeakMatcher.make(request.secrets, request.signal)
      const search = new Search(matcher, options.bytesMax ?? LIMITS.leakScanBytes, request.signal)
      if (matcher.isEmpty) return search.report()
      if (request.artifact.kind === 'tree') for (const directory of request.directories) await searchTree(search, directory)
      else await searchImage(search, await options.saveImage(request.artifact, request.signal))
      return search.report()
    },
  }
}

/** The place that is read and what was found so far. */
class Search {
  readonly #matcher: LeakMatcher
  readonly #bytesMax: number
  readonly #signal: AbortSignal
  readonly #leaks: Leak[] = []
  #files = 0
  #bytes = 0

  constructor(matcher: LeakMatcher, bytesMax: number, signal: AbortSignal) {
    this.#matcher = matcher
    this.#bytesMax = bytesMax
    this.#signal = signal
  }

  get isOver(): boolean {
    return this.#bytes >= this.#bytesMax || this.#leaks.length >= LIMITS.leakFindings
  }

  async file(layer: string, path: string, content: AsyncIterable<Uint8Array>): Promise<void> {
    const file = this.#matcher.file()
    this.#files += 1
    for await (const chunk of content) {
      for (let at = 0; at < chunk.length && !this.isOver; at += CHUNK_BYTES) {
        const part = chunk.subarray(at, Math.min(at + CHUNK_BYTES, at + this.#bytesMax - this.#bytes))
        file.push(part)
        this.#bytes += part.length
        if (part.length === CHUNK_BYTES) await breathe()
      }
      this.#signal.throwIfAborted()
      if (this.isOver) break
    }
    if (file.names.length > 0) this.#leaks.push({ layer, path, names: file.names })
  }

  report(): LeakReport {
    return { leaks: this.#leaks, files: this.#files, bytes: this.#bytes, isComplete: !this.isOver && this.#matcher.isComplete }
  }
}

async function searchTree(search: Search, directory: LeakRequest['directories'][number]): Promise<void> {
  for (const entry of await walkTree(directory.path)) {
    if (search.isOver) return
    if (entry.kind !== 'file' || entry.bytes === 0) continue
    // Never through a link that was put there meanwhile.
    const file = await open(join(directory.path, entry.path), constants.O_RDONLY | constants.O_NOFOLLOW)
    try {
      await search.file(directory.name, entry.path, file.createReadStream({ highWaterMark: CHUNK_BYTES, autoClose: false }))
    } finally {
      await file.close()
    }
  }
}

async function searchImage(search: Search, archive: AsyncIterable<Buffer> | null): Promise<void> {
  if (archive === null) throw new ShiplockError('SCANNER_FAILED', 'the image is not on this host')
  for await (const file of readImage(archive)) {
    if (search.isOver) return
    await search.file(file.layer, file.path, file.content)
  }
}
