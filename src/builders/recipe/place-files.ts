import { chmod, mkdir, rename, symlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { copyExactFile, copyRegularFile } from '../../core/copy-tree.ts'
import { eachLimited } from '../../core/each-limited.ts'
import { isExecutable } from '../../core/tree-digest.ts'
import type { TreeEntry } from '../../core/walk-tree.ts'

const PARALLEL = 8

export interface PlaceOptions {
  readonly from: string
  /** Does not exist yet; its parent does. */
  readonly to: string
  /** The origin is thrown away afterwards: its files may be moved instead of copied. */
  readonly movable: boolean
  /** Copies of files keep their permissions and times; directories are 0755 all the same. */
  readonly exact?: boolean
}

/** Puts chosen entries at chosen paths of a new directory: modes 0644 and 0755 unless `exact`, links as they are, no file shared with the origin. */
export async function placeFiles(files: ReadonlyMap<string, TreeEntry>, { from, to, movable, exact = false }: PlaceOptions): Promise<void> {
  await mkdir(to, { mode: 0o755 })
  const uses = new Map<string, number>()
  for (const entry of files.values()) uses.set(entry.path, (uses.get(entry.path) ?? 0) + 1)
  const directories = new Set<string>(['.'])
  for (const [path, entry] of files) {
    const directory = entry.kind === 'directory' ? path : dirname(path)
    if (directories.has(directory)) continue
    directories.add(directory)
    await mkdir(join(to, directory), { recursive: true, mode: 0o755 })
  }
  const contents = [...files].filter(([, entry]) => entry.kind !== 'directory')
  await eachLimited(contents, PARALLEL, async ([path, entry]) => {
    const source = join(from, entry.path)
    const target = join(to, path)
    if (entry.kind === 'symlink') return symlink(entry.target ?? '', target)
    // A file with other names may be changed through them; one that goes to two places is needed twice.
    if (!movable || entry.hardLinks > 1 || uses.get(entry.path) !== 1) {
      return (exact ? copyExactFile : copyRegularFile)(source, target, entry)
    }
    await chmod(source, isExecutable(entry) ? 0o755 : 0o644)
    await rename(source, target)
  })
}
