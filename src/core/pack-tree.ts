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

const EPOCH = new Date(0)

async function addEntries(archive: Pack, root: string, entries: readonly TreeEntry[]): Promise<void> {
  for (const entry of entries) {
    const common = { name: entry.path, mtime: EPOCH, uid: 0, gid: 0, uname: '', gname: '' }
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
