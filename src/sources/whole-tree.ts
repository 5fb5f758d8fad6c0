import { lstat, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ShiplockError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { walkTree } from '../core/walk-tree.ts'
import { LFS_POINTER, LFS_POINTER_BYTES_MAX, lfsPointers } from './git-checkout.ts'

const ATTRIBUTES_BYTES_MAX = 100_000
const READ_MAX = 2000

/**
 * A directory that was sent from a checkout may be one without its large files or submodules: it would be built, served, and broken. What
 * git marks as such is refused. Cheap where the directory has neither mark.
 */
export async function assertWholeTree(directory: string): Promise<void> {
  if ((await textOf(join(directory, '.gitattributes'))).includes('filter=lfs')) await refusePointers(directory)
  const modules = await textOf(join(directory, '.gitmodules'))
  for (const line of modules.split('\n')) {
    const at = line.indexOf('=')
    if (line.slice(0, at).trim() !== 'path') continue
    const path = line.slice(at + 1).trim()
    if (path === '' || path.startsWith('/') || path.split('/').includes('..')) continue
    const names = await readdir(join(directory, path)).catch(() => null)
    if (names?.length !== 0) continue
    throw new ShiplockError(
      'UPLOAD_REFUSED',
      `the submodule ${JSON.stringify(path.slice(0, 200))} is an empty directory in what was sent`,
      {
        hint: 'Fetch it (`git submodule update --init`) and deploy again, or leave the directory out with .deployignore.',
      },
    )
  }
}

async function refusePointers(directory: string): Promise<void> {
  const entries = await walkTree(directory, { entriesMax: LIMITS.uploadEntries })
  const small = entries.filter(({ kind, bytes }) => kind === 'file' && bytes >= LFS_POINTER.length && bytes <= LFS_POINTER_BYTES_MAX)
  const pointers: string[] = []
  for (const { path } of small.slice(0, READ_MAX)) if ((await textOf(join(directory, path))).startsWith(LFS_POINTER)) pointers.push(path)
  if (pointers.length > 0) throw lfsPointers(pointers.length, pointers.slice(0, 5))
}

/** Empty for what is not there, no file or too large. */
async function textOf(path: string): Promise<string> {
  const found = await lstat(path).catch(() => null)
  if (found === null || !found.isFile() || found.size > ATTRIBUTES_BYTES_MAX) return ''
  return readFile(path, 'utf8').catch(() => '')
}
