import { lstat, readdir, readlink } from 'node:fs/promises'
import { join } from 'node:path'
import { ShiplockError } from './errors.ts'

/** One thing in a tree, as it stands there: links are never followed. */
export interface TreeEntry {
  /** Relative to the root, `/` between names. */
  readonly path: string
  readonly kind: 'file' | 'directory' | 'symlink' | 'special'
  readonly mode: number
  readonly bytes: number
  readonly hardLinks: number
  readonly uid: number
  /** Of a symlink, as written. */
  readonly target: string | null
}

export interface WalkOptions {
  /** More entries than this are refused. */
  readonly entriesMax?: number
  /** Directories for which this answers false are listed but not entered. */
  readonly enter?: (entry: TreeEntry) => boolean
}

/**
 * Everything below `root`, sorted by path (code units), parents before their children.
 * Names that are not UTF-8 are refused: they could not be named in a log, a record or an archive.
 */
export async function walkTree(root: string, options: WalkOptions = {}): Promise<TreeEntry[]> {
  const entries: TreeEntry[] = []
  const entriesMax = options.entriesMax ?? Number.POSITIVE_INFINITY
  const pending = ['']
  for (let directory = pending.pop(); directory !== undefined; directory = pending.pop()) {
    const found = await readEntries(root, directory)
    if (entries.length + found.length > entriesMax) {
      throw new ShiplockError('BUILD_FAILED', `the tree has more than ${entriesMax} entries`, { details: { entriesMax } })
    }
    for (const entry of found) {
      entries.push(entry)
      if (entry.kind === 'directory' && (options.enter?.(entry) ?? true)) pending.push(entry.path)
    }
  }
  return entries.sort((a, b) => (a.path < b.path ? -1 : 1))
}

async function readEntries(root: string, directory: string): Promise<TreeEntry[]> {
  const names = await readdir(join(root, directory)).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EACCES') throw error
    throw new ShiplockError('BUILD_FAILED', `${directory} can't be read: its mode forbids it`, { details: { path: directory } })
  })
  const found: TreeEntry[] = []
  for (let at = 0; at < names.length; at += STAT_BATCH) {
    const batch = names.slice(at, at + STAT_BATCH).map((name) => describeEntry(root, directory === '' ? name : `${directory}/${name}`))
    found.push(...(await Promise.all(batch)))
  }
  return found
}
const STAT_BATCH = 64

/** One entry by its path below `root`. */
export async function describeEntry(root: string, path: string): Promise<TreeEntry> {
  if (path.includes('\ufffd')) {
    throw new ShiplockError('BUILD_FAILED', `a file name is not valid UTF-8: ${path}`, { details: { path } })
  }
  const absolute = join(root, path)
  const stat = await lstat(absolute)
  const kind = stat.isFile() ? 'file' : stat.isDirectory() ? 'directory' : stat.isSymbolicLink() ? 'symlink' : 'special'
  return {
    path,
    kind,
    mode: stat.mode & 0o7777,
    bytes: kind === 'file' ? stat.size : 0,
    hardLinks: stat.nlink,
    uid: stat.uid,
    target: kind === 'symlink' ? await readlink(absolute) : null,
  }
}
