import { ShiplockError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { printable } from '../core/printable.ts'
import type { Git } from './git-command.ts'
import { gitFailure } from './git-failure.ts'
import type { SubmoduleLink } from './git-submodules.ts'

export const LFS_POINTER = 'version https://git-lfs.github.com/spec/v1'
/** Pointers are 120 to 140 bytes long in practice; the specification bounds them at 1024. */
export const LFS_POINTER_BYTES_MAX = 300
const LFS_CANDIDATES_MAX = 2000
const ATTRIBUTE_FILES_MAX = 200
const ATTRIBUTE_BYTES_MAX = 100_000
const SHOWN = 5

export interface CheckOutTarget {
  /** Works in the repository that has the commit. */
  readonly git: Git
  readonly bytesMax: number
  readonly signal: AbortSignal
}

interface CommitFiles {
  readonly bytes: number
  readonly submodules: readonly SubmoduleLink[]
  readonly attributeFiles: readonly Blob[]
  readonly small: readonly Blob[]
}

interface Blob {
  readonly object: string
  readonly path: string
}

/**
 * Writes the commit's files, after its size was found to be bearable: a tree of a few kilobytes can name the same blob a billion times.
 * What git itself would leave as a pointer is refused: it would be served as if it were the file.
 */
export async function checkOut(target: CheckOutTarget, commit: string): Promise<Pick<CommitFiles, 'bytes' | 'submodules'>> {
  const { git, signal } = target
  const files = await measure(target, commit)
  await refusePointers(target, files)
  const result = await git(['checkout', '--quiet', '--force', '--detach', commit, '--'], { signal })
  if (result.exitCode !== 0) throw gitFailure(`can’t check out ${commit}`, result)
  return files
}

async function measure({ git, bytesMax, signal }: CheckOutTarget, commit: string): Promise<CommitFiles> {
  const tooLarge = new AbortController()
  const submodules: SubmoduleLink[] = []
  const attributeFiles: Blob[] = []
  const small: Blob[] = []
  let bytes = 0
  let entries = 0
  const onLine = (line: string, stream: 'stdout' | 'stderr') => {
    const match = stream === 'stdout' ? /^(\d+) (\w+) ([0-9a-f]+) +(-|\d+)\t(.*)$/.exec(line) : null
    if (match === null) return
    const [, , type, object = '', size, path = ''] = match
    entries += 1
    bytes += size === '-' ? 0 : Number(size)
    if (type === 'commit' && submodules.length <= LIMITS.gitSubmodules) submodules.push({ path, commit: object })
    const isSmall = type === 'blob' && Number(size) <= LFS_POINTER_BYTES_MAX
    const isAttributes = type === 'blob' && (path === '.gitattributes' || path.endsWith('/.gitattributes'))
    if (isAttributes && Number(size) <= ATTRIBUTE_BYTES_MAX && attributeFiles.length < ATTRIBUTE_FILES_MAX)
      attributeFiles.push({ object, path })
    if (isSmall && small.length < LFS_CANDIDATES_MAX) small.push({ object, path })
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
  const result = await git(args, { signal: AbortSignal.any([signal, tooLarge.signal]), onLine })
  if (result.exitCode !== 0) throw gitFailure(`can’t read the files of ${commit}`, result)
  return { bytes, submodules, attributeFiles, small }
}

/** Looks at the objects, not at the checkout: a path in there may lead anywhere. */
async function refusePointers(target: CheckOutTarget, files: CommitFiles): Promise<void> {
  if ((await holding(target, files.attributeFiles, 'filter=lfs')).length === 0) return
  const pointers = await holding(target, files.small, LFS_POINTER)
  if (pointers.length === 0) return
  throw lfsPointers(pointers.length, pointers.slice(0, SHOWN))
}

export function lfsPointers(count: number, some: readonly string[]): ShiplockError {
  const shown = some.map((path) => printable(path.slice(0, 200))).join(', ')
  return new ShiplockError(
    'SOURCE_REFUSED',
    `${count === 1 ? '1 file is a pointer' : `${count} files are pointers`} of Git LFS in place of the content: ${shown}`,
    {
      hint: 'Contents of LFS are not fetched here. Upload a checkout that has them: `git lfs pull`, then `shiplock deploy .`; or leave them out of LFS.',
      details: { pointers: count },
    },
  )
}

/** Paths of those blobs in which the text stands. */
async function holding({ git, signal }: CheckOutTarget, blobs: readonly Blob[], text: string): Promise<readonly string[]> {
  if (blobs.length === 0) return []
  const found = new Set<string>()
  let current = ''
  const onLine = (line: string, stream: 'stdout' | 'stderr') => {
    if (stream !== 'stdout') return
    current = /^([0-9a-f]{40,64}) blob \d+$/.exec(line)?.[1] ?? current
    if (line.includes(text)) found.add(current)
  }
  const input = `${blobs.map(({ object }) => object).join('\n')}\n`
  const result = await git(['cat-file', '--batch'], { signal, input, onLine })
  if (result.exitCode !== 0) throw gitFailure('can’t read files', result)
  return blobs.filter(({ object }) => found.has(object)).map(({ path }) => path)
}
