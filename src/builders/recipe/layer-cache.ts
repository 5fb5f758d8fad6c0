import { join } from 'node:path'
import { copyTree } from '../../core/copy-tree.ts'
import { LIMITS } from '../../core/limits.ts'
import { walkTree } from '../../core/walk-tree.ts'
import { selectDeployFiles } from './deploy-files.ts'
import { type LayerParts, layerKey } from './layer-key.ts'
import { LayerStore } from './layer-store.ts'
import { placeFiles } from './place-files.ts'

/** What one restore or preserve did, in words for the build log. */
export interface CacheReport {
  readonly line: string
  /** False when a restore broke off: the source is then a mixture and must be made again. */
  readonly intact: boolean
}

export const BUILD_LAYER_DIRECTORY = 'layers'

/** The build layer: the paths in `build.cache`, kept from the last successful build of the service and environment. */
export class LayerCache {
  readonly #store: LayerStore
  readonly #parts: LayerParts

  constructor(cacheDirectory: string, parts: LayerParts) {
    this.#store = new LayerStore(join(cacheDirectory, BUILD_LAYER_DIRECTORY))
    this.#parts = parts
  }

  /** Adds what is kept to a fresh source; what the source has itself stays as it is. */
  async restore(source: string): Promise<CacheReport | null> {
    if (this.#parts.cache.length === 0) return null
    const found = await this.#store.find(this.#parts)
    if (found.kind === 'miss') return { line: `build layer: miss (${found.reason})`, intact: true }
    try {
      const files = await copyTree(found.tree, source, { keepExisting: true, exact: true })
      return { line: `build layer: hit, ${files} files restored from ${this.#label}`, intact: true }
    } catch (error) {
      return { line: `build layer: not used, it can't be read (${(error as Error).message})`, intact: false }
    }
  }

  /** Keeps the paths of a finished build. Never fails the build: a cache is only a help. */
  async preserve(source: string, signal: AbortSignal): Promise<CacheReport | null> {
    if (this.#parts.cache.length === 0) return null
    try {
      const { files } = await this.#store.put(this.#parts, (tree) => fill(source, tree, this.#parts.cache, signal))
      return { line: `build layer: ${files} files kept of ${this.#label}`, intact: true }
    } catch (error) {
      return { line: `build layer: nothing kept (${(error as Error).message})`, intact: true }
    }
  }

  get #label(): string {
    return `${this.#parts.cache.join(', ')} (${layerKey(this.#parts).slice(0, 12)})`
  }
}

async function fill(
  source: string,
  tree: string,
  patterns: readonly string[],
  signal: AbortSignal,
): Promise<{ files: number; bytes: number }> {
  const entries = await walkTree(source, { entriesMax: LIMITS.buildTreeEntries })
  const { files } = await selectDeployFiles(
    entries.filter((entry) => entry.kind !== 'special'),
    patterns,
    { key: 'build.cache', signal },
  )
  // Times stay: a compiler that compares ages must find outputs older than the sources of the next build.
  await placeFiles(files, { from: source, to: tree, movable: false, exact: true })
  const contents = [...files.values()].filter((entry) => entry.kind !== 'directory')
  return { files: contents.length, bytes: contents.reduce((sum, entry) => sum + entry.bytes, 0) }
}
