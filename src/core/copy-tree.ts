import { constants } from 'node:fs'
import { chmod, copyFile, lstat, mkdir, stat, symlink, utimes } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { eachLimited } from './each-limited.ts'
import { isExecutable } from './tree-digest.ts'
import { type TreeEntry, walkTree } from './walk-tree.ts'

const PARALLEL_COPIES = 8

export interface CopyOptions {
  /** What already stands at the target stays; otherwise it is an error. */
  readonly keepExisting?: boolean
  readonly entries?: readonly TreeEntry[]
  /** Keep permissions and times of files: caches hold what tools compare by age, homes what they want unreadable to others. */
  readonly exact?: boolean
}

/**
 * Copies a tree without following links. Files become 0644 or 0755, directories 0755, hard links separate files (a copy must not
 * change with its origin); sockets, pipes and devices are left out. `to` is made when missing. Returns the number of files copied.
 * With `exact`, files and directories keep their permissions (set-id bits excepted), and files their time of change.
 */
export async function copyTree(from: string, to: string, options: CopyOptions = {}): Promise<number> {
  const entries = options.entries ?? (await walkTree(from))
  await mkdir(to, { recursive: true, mode: 0o755 })
  const blocked = new Set<string>()
  const made: TreeEntry[] = []
  for (const entry of entries) {
    if (entry.kind !== 'directory') continue
    const found = blocked.has(dirname(entry.path)) ? 'blocked' : await makeDirectory(join(to, entry.path), options)
    if (found === 'blocked') blocked.add(entry.path)
    if (found === 'made') made.push(entry)
  }
  let copied = 0
  const files = entries.filter((entry) => entry.kind !== 'directory' && !blocked.has(dirname(entry.path)))
  await eachLimited(files, PARALLEL_COPIES, async (entry) => {
    if (await copyEntry(from, to, entry, options)) copied += 1
  })
  // Last, deepest first: an ordinary user can't put files into a directory without write permission.
  if (options.exact === true) for (const entry of made.toReversed()) await chmod(join(to, entry.path), entry.mode & 0o777)
  return copied
}

/** `blocked`: something that is not a directory stands there and stays. */
async function makeDirectory(path: string, options: CopyOptions): Promise<'made' | 'there' | 'blocked'> {
  try {
    await mkdir(path, { mode: 0o755 })
    return 'made'
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    if ((await lstat(path)).isDirectory()) return 'there'
    if (options.keepExisting === true) return 'blocked'
    throw error
  }
}

async function copyEntry(from: string, to: string, entry: TreeEntry, options: CopyOptions): Promise<boolean> {
  const target = join(to, entry.path)
  try {
    if (entry.kind === 'symlink') await symlink(entry.target ?? '', target)
    else if (entry.kind === 'file') await (options.exact === true ? copyExactFile : copyRegularFile)(join(from, entry.path), target, entry)
    else return false
    return true
  } catch (error) {
    if (options.keepExisting === true && (error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}

/** A new file at `to` with the content of `from`; shares blocks where the file system can. */
export async function copyRegularFile(from: string, to: string, entry: { readonly mode: number }): Promise<void> {
  await copyFile(from, to, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE)
  await chmod(to, isExecutable(entry) ? 0o755 : 0o644)
}

/** As `copyRegularFile`, with the permissions and the time of change of `from`. */
export async function copyExactFile(from: string, to: string, entry: { readonly mode: number }): Promise<void> {
  await copyFile(from, to, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE)
  await chmod(to, entry.mode & 0o777)
  const { atime, mtime } = await stat(from)
  await utimes(to, atime, mtime)
}
