import { lstat, mkdir, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { copyTree } from '../../core/copy-tree.ts'
import { LIMITS } from '../../core/limits.ts'
import { removeTree } from '../../core/remove-tree.ts'
import { describeEntry, type TreeEntry, walkTree } from '../../core/walk-tree.ts'
import type { SandboxContainers } from '../../sandbox/sandbox.ts'
import { type LayerParts, layerKey } from './layer-key.ts'
import { LayerStore } from './layer-store.ts'

export const BASE_LAYER_DIRECTORY = 'base'
const SOURCE = 'source'

/** What `build.prepareCommands` left in the writable places of the sandbox besides the source; while it is valid they are skipped. */
export class BaseLayer {
  readonly #store: LayerStore
  readonly #parts: LayerParts

  constructor(cacheDirectory: string, parts: LayerParts) {
    this.#store = new LayerStore(join(cacheDirectory, BASE_LAYER_DIRECTORY))
    this.#parts = parts
  }

  get key(): string {
    return layerKey(this.#parts)
  }

  /**
   * Puts the layer into a sandbox directory in which nothing was prepared yet. `isPrepared` = the commands need not run. `image`: the
   * system that the commands left, where they ran in a container; without it the rest of the layer is worth nothing.
   */
  async restore(
    directory: string,
    containers: Pick<SandboxContainers, 'hasImage'> | null,
  ): Promise<{ readonly line: string; readonly isPrepared: boolean; readonly image: string | null }> {
    const missed = (line: string) => ({ line: `base layer: ${line}`, isPrepared: false, image: null })
    const found = await this.#store.find(this.#parts)
    if (found.kind === 'miss') return missed(`miss (${found.reason})`)
    const { image = null } = found.about
    if (containers !== null && (image === null || !(await containers.hasImage(image))))
      return missed('miss (its image is no longer in the engine)')
    try {
      const files = await copyTree(found.tree, directory, { keepExisting: true, exact: true })
      const line = `base layer: hit, ${files} files; prepareCommands are skipped (${this.key.slice(0, 12)})`
      return { line, isPrepared: true, image: containers === null ? null : image }
    } catch (error) {
      await emptyPrepared(directory)
      return missed(`not used, it can't be read (${(error as Error).message})`)
    }
  }

  /** Keeps what the commands left. Never fails the build. */
  async preserve(directory: string, image: string | null = null): Promise<string> {
    try {
      const { files } = await this.#store.put(this.#parts, async (tree) => {
        const entries = (await preparedEntries(directory)).filter((entry) => entry.kind !== 'special')
        const copied = await copyTree(directory, tree, { entries, exact: true })
        const bytes = entries.reduce((sum, entry) => sum + entry.bytes, 0)
        return { files: copied, bytes, ...(image === null ? {} : { image }) }
      })
      return `base layer: ${files} files kept (${this.key.slice(0, 12)})`
    } catch (error) {
      return `base layer: nothing kept (${(error as Error).message})`
    }
  }
}

/** State of the source, for finding out whether commands changed it: then skipping them would change the next build. */
export class SourceState {
  readonly #directory: string
  readonly #known: ReadonlyMap<string, string>

  private constructor(directory: string, known: ReadonlyMap<string, string>) {
    this.#directory = directory
    this.#known = known
  }

  static async of(directory: string): Promise<SourceState> {
    return new SourceState(directory, await look(directory))
  }

  /** The first path that came, went or changed; null when all is as it was. */
  async firstChange(): Promise<string | null> {
    const now = await look(this.#directory)
    for (const [path, state] of now) if (this.#known.get(path) !== state) return path
    for (const path of this.#known.keys()) if (!now.has(path)) return path
    return null
  }
}

/** ctime can't be set back by whoever owns the file. Directories don't count: what changed in them is named itself. */
async function look(directory: string): Promise<ReadonlyMap<string, string>> {
  const entries = await walkTree(directory, { entriesMax: LIMITS.buildTreeEntries })
  const known = new Map<string, string>()
  for (const entry of entries) {
    if (entry.kind === 'directory') known.set(entry.path, 'directory')
    else known.set(entry.path, `${(await lstat(join(directory, entry.path))).ctimeMs} ${entry.bytes}`)
  }
  return known
}

/** Everything in the sandbox's directory but the source. */
async function preparedEntries(directory: string): Promise<TreeEntry[]> {
  const entries: TreeEntry[] = []
  for (const name of (await readdir(directory)).sort()) {
    if (name === SOURCE) continue
    const top = await describeEntry(directory, name)
    entries.push(top)
    if (top.kind !== 'directory') continue
    const below = await walkTree(join(directory, name), { entriesMax: LIMITS.buildTreeEntries })
    entries.push(...below.map((entry) => ({ ...entry, path: `${name}/${entry.path}` })))
  }
  return entries
}

async function emptyPrepared(directory: string): Promise<void> {
  for (const name of await readdir(directory)) if (name !== SOURCE) await removeTree(join(directory, name))
  await mkdir(join(directory, 'home'), { mode: 0o755 })
}
