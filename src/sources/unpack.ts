import { constants, createReadStream } from 'node:fs'
import { copyFile, mkdir, open, stat, symlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGunzip } from 'node:zlib'
import { extract, type Header } from 'tar-stream'
import { ShiplockError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { findLeavingLink } from '../core/tree-links.ts'
import type { TreeEntry } from '../core/walk-tree.ts'
import { entryPath, entryRefused } from './archive-entry.ts'

export interface UnpackBounds {
  readonly unpackedBytes: number
  readonly entries: number
  readonly ratio: number
}

export const UNPACK_BOUNDS: UnpackBounds = {
  unpackedBytes: LIMITS.uploadUnpackedBytes,
  entries: LIMITS.uploadEntries,
  ratio: LIMITS.uploadRatio,
}

/** Below this an archive may compress as well as it likes. */
const RATIO_FREE_BYTES = 32 * 1024 * 1024

/**
 * Unpacks a tar or tar.gz into a directory that exists and is empty. Only plain files, directories, links that stay inside and hard
 * links to earlier files of the archive come out, with modes 0644 or 0755. Whatever else stands in it ends the unpacking with
 * UPLOAD_REFUSED; the caller then removes the directory.
 */
export async function unpack(archive: string, directory: string, signal: AbortSignal, bounds: UnpackBounds = UNPACK_BOUNDS): Promise<void> {
  const unpacker = new Unpacker(directory, bounds)
  const bounded = boundedBy(bounds, (await stat(archive)).size)
  const stages = (await isGzip(archive)) ? [createGunzip(), bounded] : [bounded]
  const extractor = extract()
  const reading = pipeline([createReadStream(archive), ...stages, extractor as unknown as NodeJS.WritableStream], { signal })
  // The loop below reports the first failure; this keeps the pipeline's own from being unhandled meanwhile.
  reading.catch(() => {})
  try {
    for await (const entry of extractor) await unpacker.take(entry.header, entry)
    await reading
  } catch (error) {
    throw unpackError(error, signal)
  }
  await unpacker.finish()
}

function unpackError(error: unknown, signal: AbortSignal): unknown {
  if (signal.aborted) return signal.reason
  if (error instanceof ShiplockError) return error
  const { code, message } = error as NodeJS.ErrnoException
  // errno codes are about our disk; everything else is about what was in the archive.
  if (code !== undefined && /^E[A-Z]+$/.test(code)) return error
  return new ShiplockError('UPLOAD_REFUSED', `the upload is not a readable tar or tar.gz archive: ${message}`, {
    hint: 'Send a tar or tar.gz archive.',
    cause: error,
  })
}

async function isGzip(path: string): Promise<boolean> {
  const file = await open(path)
  try {
    const { buffer } = await file.read(Buffer.alloc(2), 0, 2, 0)
    return buffer[0] === 0x1f && buffer[1] === 0x8b
  } finally {
    await file.close()
  }
}

function boundedBy(bounds: UnpackBounds, packedBytes: number): Transform {
  let bytes = 0
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length
      // Header and padding count: an archive of nothing but headers must end too.
      if (bytes > bounds.unpackedBytes + bounds.entries * 1024) done(tooLarge(`unpacks to more than ${bounds.unpackedBytes} bytes`, bounds))
      else if (bytes > RATIO_FREE_BYTES && bytes > packedBytes * bounds.ratio)
        done(tooLarge(`unpacks to more than ${bounds.ratio} times its size`, bounds))
      else done(null, chunk)
    },
  })
}

function tooLarge(what: string, bounds: UnpackBounds): ShiplockError {
  return new ShiplockError('UPLOAD_REFUSED', `the upload ${what}`, {
    details: { ...bounds },
    hint: 'List what is not needed in .deployignore.',
  })
}

class Unpacker {
  readonly #directory: string
  readonly #bounds: UnpackBounds
  /** All that was made, so that an entry can be checked against what its path goes through. */
  readonly #made = new Map<
    string,
    { readonly kind: 'file' | 'directory' | 'symlink'; readonly bytes: number; readonly target: string | null }
  >()
  #bytes = 0
  #entries = 0

  constructor(directory: string, bounds: UnpackBounds) {
    this.#directory = directory
    this.#bounds = bounds
  }

  async take(header: Header, content: AsyncIterable<unknown>): Promise<void> {
    this.#entries += 1
    if (this.#entries > this.#bounds.entries) throw tooLarge(`has more than ${this.#bounds.entries} entries`, this.#bounds)
    const path = entryPath(header.name)
    const parent = dirname(path)
    if (path !== '' && parent !== '.') await this.#makeDirectory(parent, header.name)
    switch (header.type) {
      case 'directory':
        if (path !== '') await this.#makeDirectory(path, header.name)
        break
      case 'file':
      case 'contiguous-file':
        this.#claim(path, header.name)
        this.#count(header.size ?? 0)
        await this.#writeFile(path, header, content)
        return
      case 'symlink':
        await this.#link(path, header)
        break
      case 'link':
        await this.#hardLink(path, header)
        break
      default:
        throw entryRefused(header.name, `is a ${header.type ?? 'thing of unknown type'}; only files, directories and links are taken`)
    }
    // What carries no content may still claim a size: it is read and forgotten.
    for await (const _ of content);
  }

  /** Checks the links once all are known: one may lead through another that came later. */
  async finish(): Promise<void> {
    const entries: TreeEntry[] = []
    for (const [path, { kind, bytes, target }] of this.#made) {
      entries.push({ path, kind, bytes, target, mode: 0, hardLinks: 1, uid: 0 })
    }
    const leaving = await findLeavingLink(entries)
    if (leaving !== null) throw entryRefused(leaving.path, `is a link that leaves the archive (to ${leaving.target})`)
  }

  #count(bytes: number): void {
    this.#bytes += bytes
    if (this.#bytes > this.#bounds.unpackedBytes) throw tooLarge(`unpacks to more than ${this.#bounds.unpackedBytes} bytes`, this.#bounds)
  }

  #claim(path: string, name: string): void {
    if (path === '') throw entryRefused(name, 'stands for the root but is no directory')
    if (this.#made.has(path)) throw entryRefused(name, 'stands twice in the archive')
  }

  async #makeDirectory(path: string, name: string): Promise<void> {
    let at = ''
    for (const part of path.split('/')) {
      at = at === '' ? part : `${at}/${part}`
      const there = this.#made.get(at)
      if (there?.kind === 'directory') continue
      if (there !== undefined) throw entryRefused(name, `goes through ${at}, which is a ${there.kind}`)
      this.#entries += 1
      await mkdir(join(this.#directory, at), { mode: 0o755 })
      this.#made.set(at, { kind: 'directory', bytes: 0, target: null })
    }
  }

  async #writeFile(path: string, header: Header, content: AsyncIterable<unknown>): Promise<void> {
    const mode = ((header.mode ?? 0) & 0o111) === 0 ? 0o644 : 0o755
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW
    const file = await open(join(this.#directory, path), flags, mode)
    try {
      await file.chmod(mode)
      for await (const chunk of content) await file.writeFile(chunk as Uint8Array)
    } finally {
      await file.close()
    }
    this.#made.set(path, { kind: 'file', bytes: header.size ?? 0, target: null })
  }

  async #link(path: string, header: Header): Promise<void> {
    const target = header.linkname ?? ''
    this.#claim(path, header.name)
    if (target === '' || target.includes('\0') || target.includes('\ufffd') || Buffer.byteLength(target) > LIMITS.uploadPathBytes) {
      throw entryRefused(header.name, 'is a link with an unusable target')
    }
    if (target.startsWith('/')) throw entryRefused(header.name, `is a link that leaves the archive (to ${target})`)
    await symlink(target, join(this.#directory, path))
    this.#made.set(path, { kind: 'symlink', bytes: 0, target })
  }

  /** Becomes a file of its own: nothing that is deployed may change with another file. */
  async #hardLink(path: string, header: Header): Promise<void> {
    this.#claim(path, header.name)
    const target = entryPath(header.linkname ?? '')
    const origin = this.#made.get(target)
    if (origin?.kind !== 'file') throw entryRefused(header.name, `is a hard link to ${target}, which is no earlier file of the archive`)
    this.#count(origin.bytes)
    const flags = constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE
    await copyFile(join(this.#directory, target), join(this.#directory, path), flags)
    this.#made.set(path, { kind: 'file', bytes: origin.bytes, target: null })
  }
}
