import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import type { Digest } from '../domain/ids.ts'
import { eachLimited } from './each-limited.ts'
import { ShiplockError } from './errors.ts'
import { type TreeEntry, walkTree } from './walk-tree.ts'

export interface TreeSummary {
  readonly digest: Digest
  /** Regular files and symlinks. */
  readonly files: number
  /** Sum of the sizes of regular files. */
  readonly bytes: number
}

const READ_CHUNK = 256 * 1024
const PARALLEL_READS = 8

/**
 * Names a tree by content: sorted paths, types, the executable bit, link targets, file contents. Owners, times, other mode bits and
 * the order of the directory do not count, so that the same content has the same name on every host.
 * Sockets, devices and pipes have no content and are refused.
 */
export async function treeDigest(root: string, known?: readonly TreeEntry[]): Promise<TreeSummary> {
  const entries = known ?? (await walkTree(root))
  const special = entries.find((entry) => entry.kind === 'special')
  if (special !== undefined) {
    throw new ShiplockError('BUILD_FAILED', `${special.path} is a socket, pipe or device, not a file`, { details: { path: special.path } })
  }
  const contents = new Map<string, string>()
  const files = entries.filter((entry) => entry.kind === 'file')
  await eachLimited(files, PARALLEL_READS, async (entry) => {
    contents.set(entry.path, await fileDigest(join(root, entry.path)))
  })
  const hash = createHash('sha256').update('shiplock tree 1\n')
  for (const entry of entries) hash.update(record(entry, contents.get(entry.path) ?? ''))
  return {
    digest: `sha256:${hash.digest('hex')}` as Digest,
    files: entries.filter((entry) => entry.kind !== 'directory').length,
    bytes: files.reduce((sum, entry) => sum + entry.bytes, 0),
  }
}

/** Fields end with NUL, which no path or target can hold: no two trees share a record. */
function record(entry: TreeEntry, content: string): string {
  switch (entry.kind) {
    case 'directory':
      return `d\0${entry.path}\0`
    case 'symlink':
      return `l\0${entry.path}\0${entry.target}\0`
    default:
      return `${isExecutable(entry) ? 'x' : 'f'}\0${entry.path}\0${content}\0`
  }
}

/** The one mode bit of a file that counts. */
export function isExecutable(entry: { readonly mode: number }): boolean {
  return (entry.mode & 0o111) !== 0
}

async function fileDigest(path: string): Promise<string> {
  // O_NOFOLLOW and O_NONBLOCK: what was a file when listed must not turn into a link or a pipe that blocks.
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  try {
    const hash = createHash('sha256')
    const { size } = await file.stat()
    const buffer = Buffer.allocUnsafe(Math.min(READ_CHUNK, Math.max(size, 1)))
    for (;;) {
      const { bytesRead } = await file.read(buffer, 0, buffer.length)
      if (bytesRead === 0) return hash.digest('hex')
      hash.update(buffer.subarray(0, bytesRead))
    }
  } finally {
    await file.close()
  }
}
