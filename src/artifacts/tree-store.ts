import { randomBytes } from 'node:crypto'
import { chmod, lchown, mkdir, open, readdir, readFile, rename, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { syncDirectory, writeFileAtomic } from '../core/atomic-file.ts'
import { copyRegularFile, copyTree } from '../core/copy-tree.ts'
import { eachLimited } from '../core/each-limited.ts'
import { ShiplockError } from '../core/errors.ts'
import { runCommand } from '../core/exec.ts'
import { removeTree } from '../core/remove-tree.ts'
import { isExecutable, type TreeSummary, treeDigest } from '../core/tree-digest.ts'
import { findLeavingLink } from '../core/tree-links.ts'
import { type TreeEntry, walkTree } from '../core/walk-tree.ts'
import type { Digest } from '../domain/ids.ts'
import type { ArtifactStore, TreeArtifact } from './artifact-store.ts'

export interface TreeStoreOptions {
  /** Made when missing; one store per directory. */
  readonly directory: string
}

/*
 * <directory>/                    0711: those inside may pass, not list
 *   incoming/<random>/            being put; what a crash left is removed when the store opens
 *   <64 hex>/summary.json         written before the directory gets its name, so a name means a whole tree
 *   <64 hex>/tree/                0555 and 0444, owned by the server
 */
const DIGEST = /^sha256:([0-9a-f]{64})$/
const PARALLEL = 8
/** Up to here each file is synced by itself, above the whole file system is. */
const SYNC_FILES_MAX = 256

/** File trees in a directory of this host, named by content. */
export function createTreeStore(options: TreeStoreOptions): ArtifactStore {
  const { directory } = options
  let opening: Promise<void> | null = null
  const opened = () => {
    opening ??= openStore(directory)
    return opening
  }
  const placeOf = (digest: Digest) => join(directory, hexOf(digest))
  const turns = new Turns()
  return {
    put: async (tree) => {
      await opened()
      return put(directory, tree, turns)
    },
    find: async (digest) => {
      const path = join(placeOf(digest), 'tree')
      return (await exists(path)) ? path : null
    },
    verify: async (digest) => isWhole(placeOf(digest), digest),
    remove: async (digest) => {
      await opened()
      await turns.take(digest, () => discard(directory, placeOf(digest)))
    },
    list: async () => {
      await opened()
      const found: { digest: Digest; bytes: number }[] = []
      for (const name of await readdir(directory)) {
        const digest = `sha256:${name}` as Digest
        if (!DIGEST.test(digest)) continue
        const summary = await readSummary(join(directory, name))
        if (summary !== null) found.push({ digest, bytes: summary.bytes })
      }
      return found
    },
  }
}

/** What changes the place of one digest happens one after the other. */
class Turns {
  readonly #last = new Map<string, Promise<unknown>>()

  async take(key: string, act: () => Promise<void>): Promise<void> {
    const turn = (this.#last.get(key) ?? Promise.resolve()).then(act)
    const settled = turn.catch(() => {})
    this.#last.set(key, settled)
    try {
      await turn
    } finally {
      if (this.#last.get(key) === settled) this.#last.delete(key)
    }
  }
}

function hexOf(digest: Digest): string {
  const hex = DIGEST.exec(digest)?.[1]
  if (hex === undefined) throw new ShiplockError('INTERNAL', `not an artifact digest: ${digest}`)
  return hex
}

async function openStore(directory: string): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o711 })
  await chmod(directory, 0o711)
  const incoming = join(directory, 'incoming')
  await removeTree(incoming)
  await mkdir(incoming, { mode: 0o700 })
}

async function put(directory: string, tree: string, turns: Turns): Promise<TreeArtifact> {
  const place = join(directory, 'incoming', randomBytes(8).toString('hex'))
  await mkdir(place, { mode: 0o711 })
  try {
    await refuseLeavingLink(await walkTree(tree))
    const inside = await take(tree, join(place, 'tree'))
    const entries = await own(inside)
    const summary = await treeDigest(inside, entries)
    await writeFileAtomic(join(place, 'summary.json'), JSON.stringify(summary), 0o644)
    await turns.take(summary.digest, async () => {
      const target = join(directory, hexOf(summary.digest))
      if (await isWhole(target, summary.digest)) return
      // A damaged one (I7) or half of one would be given out for ever.
      await discard(directory, target)
      await makeDurable(inside, entries)
      await syncDirectory(place)
      await rename(place, target)
      await syncDirectory(directory)
    })
    return { kind: 'tree', ...summary }
  } finally {
    await removeTree(place)
  }
}

async function refuseLeavingLink(entries: readonly TreeEntry[]): Promise<void> {
  const leaving = await findLeavingLink(entries)
  if (leaving === null) return
  throw new ShiplockError('BUILD_FAILED', `${leaving.path} is a link that leaves the artifact (to ${leaving.target})`, {
    details: { path: leaving.path, target: leaving.target },
    hint: 'Copy what it points at into the build, or leave it out of build.deployFiles.',
  })
}

/** By rename where both stand on one file system, else by copy; the given directory is gone afterwards. */
async function take(tree: string, to: string): Promise<string> {
  try {
    await rename(tree, to)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EXDEV') throw error
    await copyTree(tree, to)
    await removeTree(tree)
  }
  return to
}

/** Makes the tree ours and read only, so that no build or instance, whoever wrote it, can change it any more. */
async function own(root: string): Promise<readonly TreeEntry[]> {
  const entries = await walkTree(root)
  const uid = process.getuid?.() ?? 0
  const gid = process.getgid?.() ?? 0
  const rootUid = (await stat(root)).uid
  await eachLimited(entries, PARALLEL, async (entry) => {
    const path = join(root, entry.path)
    if (entry.kind === 'special') return
    if (entry.uid !== uid) await lchown(path, uid, gid)
    if (entry.kind !== 'file') return
    if (entry.hardLinks > 1) await separate(path, entry)
    await chmod(path, isExecutable(entry) ? 0o555 : 0o444)
  })
  // Directories last and deepest first: an ordinary user needs to write in them until then.
  for (const entry of entries.toReversed()) if (entry.kind === 'directory') await chmod(join(root, entry.path), 0o555)
  if (rootUid !== uid) await lchown(root, uid, gid)
  await chmod(root, 0o555)
  return entries
}

/** A hard link outside the tree would be a way to change the file later. */
async function separate(path: string, entry: TreeEntry): Promise<void> {
  const copy = `${path}.${randomBytes(4).toString('hex')}`
  await copyRegularFile(path, copy, entry)
  await rename(copy, path)
}

/** Contents and names reach the disk before the tree gets its digest's name. */
async function makeDurable(root: string, entries: readonly TreeEntry[]): Promise<void> {
  const files = entries.filter((entry) => entry.kind === 'file')
  if (files.length > SYNC_FILES_MAX && (await syncFileSystem(root))) return
  await eachLimited(files, PARALLEL, (entry) => syncPath(join(root, entry.path)))
  const directories = entries.filter((entry) => entry.kind === 'directory')
  await eachLimited(directories, PARALLEL, (entry) => syncPath(join(root, entry.path)))
  await syncPath(root)
}

/** syncfs(2) through coreutils: one call instead of one per file of node_modules. False where there is no such program. */
async function syncFileSystem(path: string): Promise<boolean> {
  try {
    const result = await runCommand('sync', ['-f', path], { env: { PATH: '/usr/bin:/bin' } })
    return result.exitCode === 0
  } catch {
    return false
  }
}

async function syncPath(path: string): Promise<void> {
  const file = await open(path, 'r')
  try {
    await file.sync()
  } finally {
    await file.close()
  }
}

/** Takes the name away first, so that a crash leaves a leftover, not half a tree under a digest. */
async function discard(directory: string, place: string): Promise<void> {
  const aside = join(directory, 'incoming', randomBytes(8).toString('hex'))
  try {
    await rename(place, aside)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
    throw error
  }
  await removeTree(aside)
}

async function isWhole(place: string, digest: Digest): Promise<boolean> {
  if ((await readSummary(place)) === null) return false
  try {
    return (await treeDigest(join(place, 'tree'))).digest === digest
  } catch {
    return false
  }
}

async function readSummary(place: string): Promise<TreeSummary | null> {
  try {
    return JSON.parse(await readFile(join(place, 'summary.json'), 'utf8')) as TreeSummary
  } catch {
    return null
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}
