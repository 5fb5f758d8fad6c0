import { createHash, randomBytes } from 'node:crypto'
import { mkdir, readdir, rename, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { copyTree } from '../../core/copy-tree.ts'
import { LIMITS } from '../../core/limits.ts'
import { removeTree } from '../../core/remove-tree.ts'
import { walkTree } from '../../core/walk-tree.ts'
import type { RecipeBuild } from '../../domain/service-config.ts'
import { selectDeployFiles } from './deploy-files.ts'
import { placeFiles } from './place-files.ts'

/** What one restore or preserve did, in words for the build log. */
export interface CacheReport {
  readonly line: string
  /** False when a restore broke off: the source is then a mixture and must be made again. */
  readonly intact: boolean
}

/**
 * The build layer: the paths in `build.cache`, kept from the last successful build of the service and environment.
 * One directory per key, put in place by rename, so that a kill or a second build leaves a whole layer or none. The key is made of what
 * decides whether old contents may still be of use; a layer of another key is dropped.
 */
export class LayerCache {
  readonly #directory: string
  readonly #recipe: RecipeBuild
  readonly #key: string

  constructor(cacheDirectory: string, recipe: RecipeBuild) {
    this.#directory = join(cacheDirectory, 'layers')
    this.#recipe = recipe
    this.#key = layerKey(recipe)
  }

  /** Adds what is kept to a fresh source; what the source has itself stays as it is. */
  async restore(source: string): Promise<CacheReport | null> {
    if (this.#recipe.cache.length === 0) return null
    const layers = await this.#layers()
    if (!layers.includes(this.#key)) {
      const why = layers.length === 0 ? 'nothing was kept yet' : 'build.os, base, prepareCommands or cache changed'
      return { line: `cache: miss (${why})`, intact: true }
    }
    try {
      const files = await copyTree(this.#pathOf(this.#key), source, { keepExisting: true })
      return { line: `cache: hit, ${files} files restored from ${this.#recipe.cache.join(', ')} (${this.#key.slice(0, 12)})`, intact: true }
    } catch (error) {
      return { line: `cache: dropped, it can't be read (${(error as Error).message})`, intact: false }
    }
  }

  /** Keeps the paths of a finished build. Never fails the build: a cache is only a help. */
  async preserve(source: string): Promise<CacheReport | null> {
    if (this.#recipe.cache.length === 0) return null
    const incoming = this.#pathOf(`${randomBytes(8).toString('hex')}.incoming`)
    try {
      await mkdir(this.#directory, { recursive: true, mode: 0o700 })
      const entries = await walkTree(source, { entriesMax: LIMITS.buildTreeEntries })
      const { files } = selectDeployFiles(
        entries.filter((entry) => entry.kind !== 'special'),
        this.#recipe.cache,
        null,
      )
      await placeFiles(files, { from: source, to: incoming, movable: false })
      await this.#replace(incoming)
      return { line: `cache: ${files.size} entries kept of ${this.#recipe.cache.join(', ')} (${this.#key.slice(0, 12)})`, intact: true }
    } catch (error) {
      await removeTree(incoming)
      return { line: `cache: nothing kept (${(error as Error).message})`, intact: true }
    }
  }

  /** Between the two renames a reader finds no layer, which is a miss, never half of one. */
  async #replace(incoming: string): Promise<void> {
    const old = this.#pathOf(`${randomBytes(8).toString('hex')}.incoming`)
    await rename(this.#pathOf(this.#key), old).catch(ignoreMissing)
    await rename(incoming, this.#pathOf(this.#key))
    await removeTree(old)
    for (const name of await readdir(this.#directory)) {
      if (name !== this.#key && (await this.#isAbandoned(name))) await removeTree(this.#pathOf(name))
    }
  }

  /** Layers of other keys, and what a killed build left; a build in progress is younger than the longest build. */
  async #isAbandoned(name: string): Promise<boolean> {
    if (!name.endsWith('.incoming')) return true
    const found = await stat(this.#pathOf(name)).catch(() => null)
    return found !== null && Date.now() - found.mtimeMs > LIMITS.buildHardTimeoutMs
  }

  async #layers(): Promise<string[]> {
    const names = await readdir(this.#directory).catch(() => [])
    return names.filter((name) => !name.endsWith('.incoming'))
  }

  #pathOf(name: string): string {
    return join(this.#directory, name)
  }
}

/** Forgets the build layer of a service and environment, as `shiplock` does on request. */
export async function clearLayerCache(cacheDirectory: string): Promise<void> {
  await removeTree(join(cacheDirectory, 'layers'))
}

function layerKey({ os, base, prepareCommands, cache }: RecipeBuild): string {
  return createHash('sha256')
    .update(JSON.stringify([os, base, prepareCommands, cache]))
    .digest('hex')
}

function ignoreMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error
}
