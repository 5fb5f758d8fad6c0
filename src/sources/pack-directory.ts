import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { BoundedWork } from '../core/bounded-work.ts'
import { ShiplockError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { packTree } from '../core/pack-tree.ts'
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
  const leaving = await findLeavingLink(entries)
  if (leaving !== null) {
    throw new ShiplockError('UPLOAD_REFUSED', `${leaving.path} is a link that leaves the directory (to ${leaving.target})`, {
      hint: 'Replace it with the file itself, or list it in .deployignore.',
      details: { entry: leaving.path },
    })
  }
  return {
    stream: packTree(directory, entries),
    files: entries.filter((entry) => entry.kind !== 'directory').length,
    bytes: entries.reduce((sum, entry) => sum + entry.bytes, 0),
  }
}

/** What an upload of `directory` would hold, sorted. */
export async function listForUpload(directory: string): Promise<TreeEntry[]> {
  const entries: TreeEntry[] = []
  const work = new BoundedWork('matching the rules of .gitignore and .deployignore', LIMITS.matchSteps)
  await list({ root: directory, into: entries, work }, '', await IgnoreRules.at(directory))
  return entries.sort((a, b) => (a.path < b.path ? -1 : 1))
}

interface Listing {
  readonly root: string
  readonly into: TreeEntry[]
  readonly work: BoundedWork
}

async function list(listing: Listing, directory: string, rules: IgnoreRules): Promise<void> {
  const { root, into, work } = listing
  for (const name of await readdir(join(root, directory))) {
    const path = directory === '' ? name : `${directory}/${name}`
    const entry = await describeEntry(root, path)
    const isDirectory = entry.kind === 'directory'
    if (await rules.ignores(path, isDirectory, work)) continue
    into.push(entry)
    if (isDirectory) await list(listing, path, await rules.enter(path))
  }
}
