import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { createGzip } from 'node:zlib'
import { type Pack, pack } from 'tar-stream'
import { ShiplockError } from './errors.ts'
import { isExecutable } from './tree-digest.ts'
import type { TreeEntry } from './walk-tree.ts'

/**
 * A tree as tar.gz: entries in the order given, without times and owners, modes 0644 or 0755, links kept, so that equal trees give equal
 * bytes. An error while reading a file destroys the stream with it; destroying the stream ends the reading.
 */
export function packTree(root: string, entries: readonly TreeEntry[]): Readable {
  const archive = pack()
  const gzip = createGzip({ level: 6 })
  archive.on('error', (error) => gzip.destroy(error))
  gzip.on('close', () => archive.destroy())
  addEntries(archive, root, entries).then(
    () => archive.finalize(),
    (error) => archive.destroy(error),
  )
  Readable.from(archive as unknown as AsyncIterable<Uint8Array>, { objectMode: false })
    .on('error', (error) => gzip.destroy(error))
    .pipe(gzip)
  return gzip
}

/** A tree for a place in an archive: below `prefix` (no slash at the ends), owned by `owner`. */
export interface PlacedTree {
  readonly root: string
  readonly entries: readonly TreeEntry[]
  readonly prefix: string
  readonly owner: number
}

/** Trees at places of one file system, as an uncompressed tar: the way into a container. Otherwise as `packTree`. */
export function packTrees(trees: readonly PlacedTree[]): Readable {
  const archive = pack()
  const add = async () => {
    for (const { root, entries, prefix, owner } of trees) {
      await addDirectories(archive, prefix, owner)
      await addEntries(archive, root, entries, { prefix: `${prefix}/`, owner })
    }
  }
  add().then(
    () => archive.finalize(),
    (error) => archive.destroy(error),
  )
  return Readable.from(archive as unknown as AsyncIterable<Uint8Array>, { objectMode: false })
}

/** `var/www`: its parents are the administrator's, as everywhere. */
async function addDirectories(archive: Pack, prefix: string, owner: number): Promise<void> {
  const names = prefix.split('/')
  for (const [index] of names.entries()) {
    const id = index === names.length - 1 ? owner : 0
    const name = names.slice(0, index + 1).join('/')
    await add(archive, { name, mtime: EPOCH, ...ownedBy(id), type: 'directory', mode: 0o755 })
  }
}

const EPOCH = new Date(0)

/** The classic header holds six octal digits; larger ids stand in an extended one. */
function ownedBy(id: number) {
  const extended = id > 0o777777 ? { pax: { uid: String(id), gid: String(id) } } : {}
  return { uid: id, gid: id, uname: '', gname: '', ...extended }
}

async function addEntries(
  archive: Pack,
  root: string,
  entries: readonly TreeEntry[],
  place: { readonly prefix: string; readonly owner: number } = { prefix: '', owner: 0 },
): Promise<void> {
  for (const entry of entries) {
    const { prefix, owner } = place
    const common = { name: `${prefix}${entry.path}`, mtime: EPOCH, ...ownedBy(owner) }
    if (entry.kind === 'directory') await add(archive, { ...common, type: 'directory', mode: 0o755 })
    else if (entry.kind === 'symlink') await add(archive, { ...common, type: 'symlink', mode: 0o777, linkname: entry.target ?? '' })
    else await addFile(archive, join(root, entry.path), { ...common, type: 'file', mode: isExecutable(entry) ? 0o755 : 0o644 })
  }
}

type EntryHeader = Parameters<Pack['entry']>[0]

function add(archive: Pack, header: EntryHeader): Promise<void> {
  return new Promise((resolve, reject) => {
    archive.entry(header, '', (error) => (error ? reject(error) : resolve()))
  })
}

async function addFile(archive: Pack, path: string, header: EntryHeader): Promise<void> {
  const file = await open(path)
  try {
    const { size } = await file.stat()
    if (size === 0) return await add(archive, header)
    await new Promise<void>((resolve, reject) => {
      const sink = archive.entry({ ...header, size }, (error) => (error ? reject(changed(header.name, error)) : resolve()))
      // Exactly the size that the header says, even if the file grows meanwhile.
      const content = file.createReadStream({ start: 0, end: size - 1, autoClose: false })
      content.on('error', reject)
      content.pipe(sink as unknown as NodeJS.WritableStream)
    })
  } finally {
    await file.close()
  }
}

function changed(path: string, cause: Error): ShiplockError {
  return new ShiplockError('UPLOAD_REFUSED', `${path} changed while it was packed`, { hint: 'Try again.', cause })
}
