import { ShiplockError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Git } from './git-command.ts'
import { gitFailure } from './git-failure.ts'

const LFS_POINTER = 'version https://git-lfs.github.com/spec/v1'
/** Pointers are 120 to 140 bytes long in practice; the specification bounds them at 1024. */
const LFS_POINTER_BYTES_MAX = 300
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
  readonly submodules: readonly string[]
  readonly attributeFiles: readonly Blob[]
  readonly small: readonly Blob[]
}

interface Blob {
  readonly object: string
  readonly path: string
}

/**
 * Writes the commit's files, after its size was found to be bearable: a tree of a few kilobytes can name the same blob a billion times.
 * Resolves with warnings.
 */
export async function checkOut(target: CheckOutTarget, commit: string): Promise<readonly string[]> {
  const { git, signal } = target
  const files = await measure(target, commit)
  const result = await git(['checkout', '--quiet', '--force', '--detach', commit, '--'], { signal })
  if (result.exitCode !== 0) throw gitFailure(`can’t check out ${commit}`, result)
  return [...submoduleWarnings(files), ...(await lfsWarnings(target, files))]
}

async function measure({ git, bytesMax, signal }: CheckOutTarget, commit: string): Promise<CommitFiles> {
  const tooLarge = new AbortController()
  const submodules: string[] = []
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
    if (type === 'commit' && submodules.length < SHOWN) submodules.push(path)
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
  return { submodules, attributeFiles, small }
}

function submoduleWarnings(files: CommitFiles): string[] {
  if (files.submodules.length === 0) return []
  return [`warning: submodules are not fetched, their directories stay empty: ${files.submodules.join(', ')}`]
}

/** Looks at the objects, not at the checkout: a path in there may lead anywhere. */
async function lfsWarnings(target: CheckOutTarget, files: CommitFiles): Promise<string[]> {
  if ((await holding(target, files.attributeFiles, 'filter=lfs')).length === 0) return []
  const pointers = await holding(target, files.small, LFS_POINTER)
  if (pointers.length === 0) return []
  const shown = pointers.slice(0, SHOWN).join(', ')
  return [`warning: Git LFS is not supported, ${pointers.length} files are pointers, not contents: ${shown}`]
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
