import { pipeline, Readable } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { extract } from 'tar-stream'

export interface ImageFile {
  /** `layer sha256:1f2e…` or `image configuration`. */
  readonly layer: string
  readonly path: string
  /** To be read to its end before the next file is asked for. */
  readonly content: AsyncIterable<Buffer>
}

const BLOCK_BYTES = 512
const TAR_MAGIC_AT = 257
const SHORT_ID = 12

/**
 * Every file of every layer of an image as `GET /images/…/get` gives it, those too that a later layer removes or replaces, and the
 * configuration with its variables and its history. Understands both layouts: a directory with a layer.tar per layer, and OCI blobs.
 */
export async function* readImage(archive: AsyncIterable<Buffer>): AsyncGenerator<ImageFile> {
  for await (const entry of readTar(archive)) {
    const [head, content] = await peek(entry.content, BLOCK_BYTES)
    const isGzip = head[0] === 0x1f && head[1] === 0x8b
    if (isGzip || isTar(head)) yield* readLayer(layerOf(entry.path), isGzip ? gunzip(content) : content)
    else yield { layer: 'image configuration', path: entry.path, content }
  }
}

async function* readLayer(layer: string, content: AsyncIterable<Buffer>): AsyncGenerator<ImageFile> {
  for await (const file of readTar(content)) yield { layer, ...file }
}

async function* readTar(archive: AsyncIterable<Buffer>): AsyncGenerator<{ path: string; content: AsyncIterable<Buffer> }> {
  const extractor = extract()
  // An archive that ends or fails early reaches the reader through the extractor.
  pipeline(Readable.from(archive), extractor as unknown as NodeJS.WritableStream, () => {})
  try {
    for await (const entry of extractor) {
      if (entry.header.type === 'file') yield { path: entry.header.name, content: entry as unknown as AsyncIterable<Buffer> }
      entry.resume()
    }
  } finally {
    extractor.destroy()
  }
}

function gunzip(content: AsyncIterable<Buffer>): AsyncIterable<Buffer> {
  const unpacked = createGunzip()
  pipeline(Readable.from(content), unpacked, () => {})
  return unpacked
}

/** The first bytes, and everything with them again. */
async function peek(content: AsyncIterable<Buffer>, bytes: number): Promise<[Buffer, AsyncIterable<Buffer>]> {
  const reading = content[Symbol.asyncIterator]()
  const chunks: Buffer[] = []
  let length = 0
  while (length < bytes) {
    const next = await reading.next()
    if (next.done === true) break
    chunks.push(next.value)
    length += next.value.length
  }
  const head = Buffer.concat(chunks)
  async function* whole(): AsyncGenerator<Buffer> {
    yield head
    for (let next = await reading.next(); next.done !== true; next = await reading.next()) yield next.value
  }
  return [head, whole()]
}

function isTar(head: Buffer): boolean {
  return head.length >= BLOCK_BYTES && head.subarray(TAR_MAGIC_AT, TAR_MAGIC_AT + 5).toString('latin1') === 'ustar'
}

/** `<id>/layer.tar` and `blobs/sha256/<digest>` both name it by a hash. */
function layerOf(path: string): string {
  const hash = /[0-9a-f]{64}/.exec(path)?.[0]
  return `layer ${hash === undefined ? path : hash.slice(0, SHORT_ID)}`
}
