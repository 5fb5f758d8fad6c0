import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { Pace } from '../../core/bounded-work.ts'
import { ShiplockError } from '../../core/errors.ts'
import { IgnoreFile } from '../../core/ignore-file.ts'
import { LIMITS } from '../../core/limits.ts'
import { removeTree } from '../../core/remove-tree.ts'
import { findLeavingLink } from '../../core/tree-links.ts'
import { type TreeEntry, walkTree } from '../../core/walk-tree.ts'
import type { BuildLog } from './build-log.ts'
import { selectDeployFiles } from './deploy-files.ts'
import { type PlaceOptions, placeFiles } from './place-files.ts'
import { checkStartFiles } from './start-file.ts'

export interface CollectOptions extends PlaceOptions {
  /** The path under which the build's commands saw `from`. */
  readonly seenAs: string
  readonly patterns: readonly string[]
  readonly startCommands: readonly string[]
  readonly log: BuildLog
  readonly signal: AbortSignal
}

/** Puts the artifact together from a finished build, in which nothing runs any more: what deployFiles selects less .deployignore, checked against the start commands. */
export async function collectArtifact(options: CollectOptions): Promise<void> {
  const { from, patterns, log, signal } = options
  const walked = await walkTree(from, { entriesMax: LIMITS.buildTreeEntries })
  const entries = walked.map((entry) => relativeLink(entry, options.seenAs))
  const { files, unmatched } = await selectDeployFiles(entries, patterns, {
    key: 'build.deployFiles',
    ignored: await readDeployIgnore(from),
    signal,
  })
  for (const pattern of unmatched) log.engine(`warning: build.deployFiles ${JSON.stringify(pattern)} matches nothing`)
  const count = [...files.values()].filter((entry) => entry.kind !== 'directory').length
  if (count === 0) throw empty(patterns, entries)
  await refuseUnfit(files, signal)
  checkStartFiles(options.startCommands, files)
  await placeFiles(files, options)
  log.engine(`artifact: ${count} files from ${patterns.join(', ')}`)
}

/** What `build.addToRunPrepare` selects, copied: the same files may be part of the artifact. A pattern without a match is an error, since the commands need it. */
export async function collectPrepareFiles(from: string, to: string, patterns: readonly string[], signal: AbortSignal): Promise<void> {
  await removeTree(to)
  const entries = await walkTree(from, { entriesMax: LIMITS.buildTreeEntries })
  const { files, unmatched } = await selectDeployFiles(entries, patterns, { key: 'build.addToRunPrepare', signal })
  if (unmatched.length > 0) {
    const names = unmatched.map((pattern) => JSON.stringify(pattern)).join(', ')
    throw new ShiplockError('BUILD_EMPTY', `build.addToRunPrepare: ${names} matches nothing in the finished build`, {
      details: { patterns: unmatched },
      hint: 'Correct the path, or make the file in build.buildCommands.',
    })
  }
  await refuseUnfit(files, signal)
  await placeFiles(files, { from, to, movable: false })
}

/** A link with a whole path into the build means the same place wherever the tree stands later: it becomes a relative one. */
function relativeLink(entry: TreeEntry, seenAs: string): TreeEntry {
  if (entry.target === null || !entry.target.startsWith(`${seenAs}/`)) return entry
  const target = relative(dirname(entry.path), entry.target.slice(seenAs.length + 1))
  return { ...entry, target: target === '' ? '.' : target }
}

async function readDeployIgnore(directory: string): Promise<IgnoreFile | null> {
  try {
    // Not through a link: this runs as the server, on a tree that a build left.
    const file = await open(join(directory, '.deployignore'), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
    try {
      const room = LIMITS.ignoreFileBytes + 1
      const { buffer, bytesRead } = await file.read(Buffer.alloc(room), 0, room, 0)
      if (bytesRead === room) throw new ShiplockError('CONFIG_INVALID', `.deployignore is larger than ${LIMITS.ignoreFileBytes} bytes`)
      return await IgnoreFile.parse(buffer.toString('utf8', 0, bytesRead), '.deployignore')
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
async function refuseUnfit(files: ReadonlyMap<string, TreeEntry>, signal: AbortSignal): Promise<void> {
  const placed: TreeEntry[] = []
  const pace = new Pace(signal)
  for (const [path, entry] of files) {
    if (entry.kind === 'special') {
      throw new ShiplockError('BUILD_FAILED', `${entry.path} is a socket, pipe or device and can't be deployed`, {
        details: { path: entry.path },
      })
    }
    placed.push({ ...entry, path })
    if (pace.isDue) await pace.rest()
    const parent = files.get(dirname(path))
    if (parent !== undefined && parent.kind !== 'directory') {
      throw new ShiplockError(
        'CONFIG_INVALID',
        `build.deployFiles puts ${parent.path} at ${dirname(path)}, where ${entry.path} needs a directory`,
      )
    }
  }
  const leaving = await findLeavingLink(placed, signal)
  if (leaving === null) return
  const origin = files.get(leaving.path)?.path ?? leaving.path
  throw new ShiplockError('BUILD_FAILED', `${origin} is a link that leaves the artifact (to ${leaving.target})`, {
    details: { path: origin, target: leaving.target },
    hint: 'Copy what it points at into the build (for a Python environment: `python3 -m venv --copies`), or list it in .deployignore.',
  })
}
