import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { ShiplockError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Git } from './git-command.ts'
import { gitFailure } from './git-failure.ts'

const LFS_POINTER = 'version https://git-lfs.github.com/spec/v1'
/** Pointers are 120 to 140 bytes long in practice; the specification bounds them at 1024. */
const LFS_POINTER_BYTES_MAX = 300
const LFS_CANDIDATES_MAX = 2000

export interface CheckOutTarget {
  readonly git: Git
  /** Working directory of the repository that has the commit. */
  readonly directory: string
  readonly bytesMax: number
  readonly signal: AbortSignal
}

interface CommitFiles {
  readonly submodules: readonly string[]
  readonly attributeFiles: readonly string[]
  readonly small: readonly string[]
}

/**
 * Writes the commit's files into `directory`, after its size was found to be bearable: a tree of a few kilobytes can
 * name the same blob a billion times.
 */
export async function checkOut(target: CheckOutTarget, commit: string): Promise<readonly string[]> {
  const { git, directory, signal } = target
  const files = await measure(target, commit)
  const result = await git(['checkout', '--quiet', '--force', '--detach', commit, '--'], { cwd: directory, signal })
  if (result.exitCode !== 0) throw gitFailure(`can’t check out ${commit}`, result)
  return [...submoduleWarnings(files), ...(await lfsWarnings(directory, files))]
}

async function measure({ git, directory, bytesMax, signal }: CheckOutTarget, commit: string): Promise<CommitFiles> {
  const tooLarge = new AbortController()
  const submodules: string[] = []
  const attributeFiles: string[] = []
  const small: string[] = []
  let bytes = 0
  let entries = 0
  const onLine = (line: string, stream: 'stdout' | 'stderr') => {
    const match = stream === 'stdout' ? /^(\d+) (\w+) \S+ +(-|\d+)\t(.*)$/.exec(line) : null
    if (match === null) return
    const [, , type, size, path = ''] = match
    entries += 1
    bytes += size === '-' ? 0 : Number(size)
    if (type === 'commit') submodules.push(path)
    if (path === '.gitattributes' || path.endsWith('/.gitattributes')) attributeFiles.push(path)
    if (size !== '-' && Number(size) <= LFS_POINTER_BYTES_MAX && small.length < LFS_CANDIDATES_MAX) small.push(path)
    if (entries > LIMITS.gitEntries || bytes > bytesMax) {
      tooLarge.abort(
        new ShiplockError('SOURCE_REFUSED', `the checkout would have more than ${LIMITS.gitEntries} files or ${bytesMax} bytes`, {
          details: { entriesMax: LIMITS.gitEntries, bytesMax },
          hint: 'Deploy a smaller repository, or upload the directory that is needed.',
        }),
      )
    }
  }
  const args = ['-c', 'core.quotePath=false', 'ls-tree', '-r', '-l', commit, '--']
  const result = await git(args, { cwd: directory, signal: AbortSignal.any([signal, tooLarge.signal]), onLine })
  if (result.exitCode !== 0) throw gitFailure(`can’t read the files of ${commit}`, result)
  return { submodules, attributeFiles, small }
}

function submoduleWarnings(files: CommitFiles): string[] {
  if (files.submodules.length === 0) return []
  return [`warning: submodules are not fetched, their directories stay empty: ${files.submodules.slice(0, 5).join(', ')}`]
}

async function lfsWarnings(directory: string, files: CommitFiles): Promise<string[]> {
  const usesLfs = await Promise.all(files.attributeFiles.map(async (path) => (await head(join(directory, path))).includes('filter=lfs')))
  if (!usesLfs.includes(true)) return []
  const pointers: string[] = []
  for (const path of files.small) {
    if ((await head(join(directory, path))).startsWith(LFS_POINTER)) pointers.push(path)
  }
  if (pointers.length === 0) return []
  return [`warning: Git LFS is not supported, ${pointers.length} files are pointers, not contents: ${pointers.slice(0, 5).join(', ')}`]
}

/** First bytes of a checked-out file; '' when it is no plain file (a link must not lead the server elsewhere). */
async function head(path: string): Promise<string> {
  try {
    const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
    try {
      const buffer = Buffer.alloc(4096)
      const { bytesRead } = await file.read(buffer, 0, buffer.length, 0)
      return buffer.toString('utf8', 0, bytesRead)
    } finally {
      await file.close()
    }
  } catch {
    return ''
  }
}
