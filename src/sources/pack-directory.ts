import { open, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { createGzip } from 'node:zlib'
import { type Pack, pack } from 'tar-stream'
import { ShiplockError } from '../core/errors.ts'
import { isExecutable } from '../core/tree-digest.ts'
import { findLeavingLink } from '../core/tree-links.ts'
import { describeEntry, type TreeEntry } from '../core/walk-tree.ts'
import { IgnoreRules } from './ignore-rules.ts'

export interface PackedDirectory {
  /** tar.gz; equal trees give equal bytes. An error while reading a file destroys the stream with it. */
  readonly stream: Readable
  readonly files: number
  /** Sum of the file sizes, before compression. */
  readonly bytes: number
}

/**
 * Packs a directory for upload: sorted, without times and owners, modes 0644 or 0755, links kept. Left out are `.git`, what
 * `.gitignore` and `.deployignore` files name, and node_modules unless one of them brings it back. Sockets, pipes and devices are
 * skipped; a link that leaves the directory is refused, since the server would refuse it.
 */
export async function packDirectory(directory: string): Promise<PackedDirectory> {
  const entries = (await listForUpload(directory)).filter((entry) => entry.kind !== 'special')
  const leaving = findLeavingLink(entries)
  if (leaving !== null) {
    throw new ShiplockError('UPLOAD_REFUSED', `${leaving.path} is a link that leaves the directory (to ${leaving.target})`, {
      hint: 'Replace it with the file itself, or list it in .deployignore.',
      details: { entry: leaving.path },
    })
  }
  const archive = pack()
  const gzip = createGzip({ level: 6 })
  archive.on('error', (error) => gzip.destroy(error))
  addEntries(archive, directory, entries).then(
    () => archive.finalize(),
    (error) => archive.destroy(error),
  )
  Readable.from(archive as unknown as AsyncIterable<Uint8Array>, { objectMode: false })
    .on('error', (error) => gzip.destroy(error))
    .pipe(gzip)
  return {
    stream: gzip,
    files: entries.filter((entry) => entry.kind !== 'directory').length,
    bytes: entries.reduce((sum, entry) => sum + entry.bytes, 0),
  }
}

/** What an upload of `directory` would hold, sorted. */
export async function listForUpload(directory: string): Promise<TreeEntry[]> {
  const entries: TreeEntry[] = []
  await list(directory, '', await IgnoreRules.at(directory), entries)
  return entries.sort((a, b) => (a.path < b.path ? -1 : 1))
}

async function list(root: string, directory: string, rules: IgnoreRules, into: TreeEntry[]): Promise<void> {
  for (const name of await readdir(join(root, directory))) {
    const path = directory === '' ? name : `${directory}/${name}`
    const entry = await describeEntry(root, path)
    if (rules.ignores(path, entry.kind === 'directory')) continue
    into.push(entry)
    if (entry.kind === 'directory') await list(root, path, await rules.enter(path), into)
  }
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
