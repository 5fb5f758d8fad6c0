import { constants } from 'node:fs'
import { chmod, mkdir, open, rename, symlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { copyRegularFile } from '../../core/copy-tree.ts'
import { eachLimited } from '../../core/each-limited.ts'
import { ShiplockError } from '../../core/errors.ts'
import { IgnoreFile } from '../../core/ignore-file.ts'
import { LIMITS } from '../../core/limits.ts'
import { isExecutable } from '../../core/tree-digest.ts'
import { findLeavingLink } from '../../core/tree-links.ts'
import { type TreeEntry, walkTree } from '../../core/walk-tree.ts'
import type { BuildLog } from './build-log.ts'
import { selectDeployFiles } from './deploy-files.ts'
import { checkStartFiles } from './start-file.ts'

export interface CollectOptions {
  /** The finished build, in which nothing runs any more. */
  readonly from: string
  /** Does not exist yet; its parent does. */
  readonly to: string
  /** The build is thrown away afterwards: its files may be moved instead of copied. */
  readonly movable: boolean
  readonly patterns: readonly string[]
  readonly startCommands: readonly string[]
  readonly log: BuildLog
}

const PARALLEL = 8

/** Puts the artifact together: what deployFiles selects less .deployignore, checked against the start commands. */
export async function collectArtifact(options: CollectOptions): Promise<void> {
  const { from, patterns, log } = options
  const entries = await walkTree(from, { entriesMax: LIMITS.buildTreeEntries })
  const { files, unmatched } = selectDeployFiles(entries, patterns, await readDeployIgnore(from))
  for (const pattern of unmatched) log.engine(`warning: build.deployFiles ${JSON.stringify(pattern)} matches nothing`)
  const count = [...files.values()].filter((entry) => entry.kind !== 'directory').length
  if (count === 0) throw empty(patterns, entries)
  refuseUnfit(files)
  checkStartFiles(options.startCommands, files)
  await write(files, options)
  log.engine(`artifact: ${count} files from ${patterns.join(', ')}`)
}

async function readDeployIgnore(directory: string): Promise<IgnoreFile | null> {
  try {
    // Not through a link: this runs as the server, on a tree that a build left.
    const file = await open(join(directory, '.deployignore'), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
    try {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(LIMITS.configBytes), 0, LIMITS.configBytes, 0)
      return new IgnoreFile(buffer.toString('utf8', 0, bytesRead))
    } finally {
      await file.close()
    }
  } catch (error) {
    if (['ENOENT', 'ELOOP', 'EISDIR', 'ENXIO'].includes((error as NodeJS.ErrnoException).code ?? '')) return null
    throw error
  }
}

function empty(patterns: readonly string[], entries: readonly TreeEntry[]): ShiplockError {
  const top = entries
    .filter((entry) => !entry.path.includes('/'))
    .map((entry) => (entry.kind === 'directory' ? `${entry.path}/` : entry.path))
  const shown = top.length === 0 ? 'nothing' : top.slice(0, 12).join(', ')
  return new ShiplockError('BUILD_EMPTY', `build.deployFiles (${patterns.join(', ')}) takes no file; the build has ${shown}`, {
    details: { patterns, topLevel: top.slice(0, 50) },
  })
}

/** Sockets, pipes, devices, links out of the artifact, and a file where another pattern needs a directory. */
function refuseUnfit(files: ReadonlyMap<string, TreeEntry>): void {
  const placed: TreeEntry[] = []
  for (const [path, entry] of files) {
    if (entry.kind === 'special') {
      throw new ShiplockError('BUILD_FAILED', `${entry.path} is a socket, pipe or device and can't be deployed`, {
        details: { path: entry.path },
      })
    }
    placed.push({ ...entry, path })
    const parent = files.get(dirname(path))
    if (parent !== undefined && parent.kind !== 'directory') {
      throw new ShiplockError(
        'CONFIG_INVALID',
        `build.deployFiles puts ${parent.path} at ${dirname(path)}, where ${entry.path} needs a directory`,
      )
    }
  }
  const leaving = findLeavingLink(placed)
  if (leaving === null) return
  const origin = files.get(leaving.path)?.path ?? leaving.path
  throw new ShiplockError('BUILD_FAILED', `${origin} is a link that leaves the artifact (to ${leaving.target})`, {
    details: { path: origin, target: leaving.target },
    hint: 'Copy what it points at into the build (for a Python environment: `python3 -m venv --copies`), or list it in .deployignore.',
  })
}

async function write(files: ReadonlyMap<string, TreeEntry>, { from, to, movable }: CollectOptions): Promise<void> {
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
    if (!movable || entry.hardLinks > 1 || uses.get(entry.path) !== 1) return copyRegularFile(source, target, entry)
    await chmod(source, isExecutable(entry) ? 0o755 : 0o644)
    await rename(source, target)
  })
}
