import { createHash, randomBytes } from 'node:crypto'
import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { syncDirectory } from '../core/atomic-file.ts'
import { ShiplockError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { removeTree } from '../core/remove-tree.ts'
import type { Revision } from '../domain/deployment.ts'
import type { Digest } from '../domain/ids.ts'
import type { FetchRequest, SourceFetcher } from './source.ts'
import { UNPACK_BOUNDS, type UnpackBounds, unpack } from './unpack.ts'
import { assertWholeTree } from './whole-tree.ts'

export interface UploadStoreOptions {
  /** Made when missing; one store per directory. */
  readonly directory: string
  readonly bytesMax?: number
  readonly bounds?: UnpackBounds
}

/** Uploaded archives by the sha256 of their bytes, and the fetcher that unpacks them. */
export interface UploadStore extends SourceFetcher {
  readonly kind: 'upload'
  /** Stores a tar or tar.gz body. It is there, durably, once this resolves; the same bytes twice are stored once. */
  receive(
    body: AsyncIterable<Uint8Array>,
    options: { readonly signal: AbortSignal },
  ): Promise<{ readonly digest: Digest; readonly bytes: number }>
  remove(digest: Digest): Promise<void>
  list(): Promise<readonly { readonly digest: Digest; readonly bytes: number; readonly receivedAt: number }[]>
}

const DIGEST = /^sha256:[0-9a-f]{64}$/
const SUFFIX = '.archive'
/** Length of a tar header; the magic stands in it at 257. */
const TAR_HEADER_BYTES = 512

export function createUploadStore(options: UploadStoreOptions): UploadStore {
  const { directory } = options
  const bytesMax = options.bytesMax ?? LIMITS.uploadBytes
  let opening: Promise<void> | null = null
  const opened = () => {
    opening ??= openDirectory(directory)
    return opening
  }
  const pathOf = (digest: Digest) => {
    if (!DIGEST.test(digest)) throw new ShiplockError('SOURCE_REFUSED', 'source.digest is not sha256: and 64 hex digits')
    return join(directory, `${digest.slice('sha256:'.length)}${SUFFIX}`)
  }
  return {
    kind: 'upload',
    validate: (source) => {
      if (source.kind !== 'upload') throw new ShiplockError('INTERNAL', `the upload source was given a ${source.kind} source`)
      pathOf(source.digest)
    },
    receive: async (body, { signal }) => {
      await opened()
      const temporary = join(directory, `${randomBytes(8).toString('hex')}.incoming`)
      try {
        const { digest, bytes } = await writeBody(body, temporary, bytesMax, signal)
        await rename(temporary, pathOf(digest))
        await syncDirectory(directory)
        return { digest, bytes }
      } catch (error) {
        await rm(temporary, { force: true })
        throw signal.aborted ? signal.reason : error
      }
    },
    fetch: async (request) => {
      await opened()
      return fetchUpload(request, pathOf, options.bounds ?? UNPACK_BOUNDS)
    },
    remove: async (digest) => {
      await rm(pathOf(digest), { force: true })
    },
    list: async () => {
      await opened()
      const names = (await readdir(directory)).filter((name) => name.endsWith(SUFFIX))
      return Promise.all(
        names.map(async (name) => {
          const { size, mtimeMs } = await stat(join(directory, name))
          return { digest: `sha256:${name.slice(0, -SUFFIX.length)}` as Digest, bytes: size, receivedAt: mtimeMs }
        }),
      )
    },
  }
}

/** Bodies that a crash cut short are of no use to anybody. One that still grows is being received by a server beside this one. */
async function openDirectory(directory: string): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o700 })
  for (const name of await readdir(directory)) {
    if (!name.endsWith('.incoming')) continue
    const path = join(directory, name)
    const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: Date.now() }))
    if (Date.now() - mtimeMs > LIMITS.apiRequestMs) await rm(path, { force: true })
  }
}

async function writeBody(body: AsyncIterable<Uint8Array>, path: string, bytesMax: number, signal: AbortSignal) {
  const hash = createHash('sha256')
  let bytes = 0
  let head = Buffer.alloc(0)
  const file = await open(path, 'wx', 0o600)
  try {
    for await (const chunk of untilAborted(body, signal)) {
      bytes += chunk.length
      if (bytes > bytesMax) {
        throw new ShiplockError('UPLOAD_TOO_LARGE', `the upload is larger than ${bytesMax} bytes`, { details: { bytesMax } })
      }
      if (head.length < TAR_HEADER_BYTES) head = Buffer.concat([head, chunk.subarray(0, TAR_HEADER_BYTES - head.length)])
      hash.update(chunk)
      await file.writeFile(chunk)
    }
    signal.throwIfAborted()
    checkMagic(head)
    await file.sync()
  } finally {
    await file.close()
  }
  return { digest: `sha256:${hash.digest('hex')}` as Digest, bytes }
}

/** A client that stalls must not hold its request past the abort. */
async function* untilAborted(body: AsyncIterable<Uint8Array>, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  let onAbort = () => {}
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(signal.reason)
  })
  aborted.catch(() => {})
  signal.addEventListener('abort', onAbort, { once: true })
  const iterator = body[Symbol.asyncIterator]()
  try {
    signal.throwIfAborted()
    for (;;) {
      const next = await Promise.race([iterator.next(), aborted])
      if (next.done) return
      yield next.value
    }
  } finally {
    signal.removeEventListener('abort', onAbort)
    // Not awaited: a stalled body may never answer.
    iterator.return?.()?.catch(() => {})
  }
}

function checkMagic(head: Buffer): void {
  const isGzip = head[0] === 0x1f && head[1] === 0x8b
  const isTar = head.length === TAR_HEADER_BYTES && (head.toString('latin1', 257, 262) === 'ustar' || head.every((byte) => byte === 0))
  if (isGzip || isTar) return
  throw new ShiplockError('UPLOAD_REFUSED', 'the upload is neither a tar nor a tar.gz archive', { hint: 'Send a tar or tar.gz archive.' })
}

async function fetchUpload(request: FetchRequest, pathOf: (digest: Digest) => string, bounds: UnpackBounds): Promise<Revision> {
  const { source, directory, signal, onLine } = request
  if (source.kind !== 'upload') throw new ShiplockError('INTERNAL', `the upload source was given a ${source.kind} source`)
  signal.throwIfAborted()
  const archive = pathOf(source.digest)
  const found = await stat(archive).catch(() => null)
  if (found === null) {
    throw new ShiplockError('SOURCE_NOT_FOUND', `the upload ${source.digest.slice(0, 19)} is not on this server`, {
      hint: 'Upload the directory again; uploads are removed with the releases that need them.',
    })
  }
  await removeTree(directory)
  await mkdir(directory, { mode: 0o755 })
  try {
    onLine(`unpacking upload ${source.digest.slice(0, 19)}${source.label === null ? '' : ` of ${source.label}`} (${found.size} bytes)`)
    await unpack(archive, directory, signal, bounds)
    await assertWholeTree(directory)
  } catch (error) {
    await removeTree(directory)
    throw error
  }
  return { kind: 'upload', digest: source.digest }
}
