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

const INCOMING = '.incoming'

/** What one restore or preserve did, in words for the build log. */
export interface CacheReport {
  readonly line: string
  /** False when a restore broke off: the source is then a mixture and must be made again. */
  readonly intact: boolean
}

/**
 * The build layer: the paths in `build.cache`, kept from the last successful build of the service and environment.
 * Stands in `layers/<key>.<time>`, put there by rename and never changed afterwards: a kill leaves a whole layer or none, and a build that
 * reads while another replaces it gets one of the two or an error, never a mixture. The key is made of what decides whether old
 * contents may still be of use; layers of other keys are dropped.
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
    const newest = layers.filter((name) => name.startsWith(`${this.#key}.`)).at(-1)
    if (newest === undefined) {
      const why = layers.length === 0 ? 'nothing was kept yet' : 'build.os, base, prepareCommands or cache changed'
      return { line: `cache: miss (${why})`, intact: true }
    }
    try {
      const files = await copyTree(this.#pathOf(newest), source, { keepExisting: true })
      return { line: `cache: hit, ${files} files restored from ${this.#recipe.cache.join(', ')} (${this.#key.slice(0, 12)})`, intact: true }
    } catch (error) {
      return { line: `cache: not used, it can't be read (${(error as Error).message})`, intact: false }
    }
  }

  /** Keeps the paths of a finished build. Never fails the build: a cache is only a help. */
  async preserve(source: string): Promise<CacheReport | null> {
    if (this.#recipe.cache.length === 0) return null
    const incoming = this.#pathOf(`${randomBytes(8).toString('hex')}${INCOMING}`)
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

  async #replace(incoming: string): Promise<void> {
    // Time first, so that names sort by age; of two in one millisecond either will do.
    const name = `${this.#key}.${Date.now().toString(36).padStart(10, '0')}${randomBytes(3).toString('hex')}`
    await rename(incoming, this.#pathOf(name))
    for (const other of await readdir(this.#directory)) {
      if (other < name || !other.startsWith(this.#key)) await this.#discard(other)
    }
  }

  /** Layers are renamed before they are removed: half of one must not be found under its name. */
  async #discard(name: string): Promise<void> {
    const isIncoming = name.endsWith(INCOMING)
    // A build in progress is younger than the longest build; what is older was left by a kill.
    if (isIncoming && !(await this.#isOld(name))) return
    const aside = isIncoming ? name : `${randomBytes(8).toString('hex')}${INCOMING}`
    if (!isIncoming) await rename(this.#pathOf(name), this.#pathOf(aside)).catch(ignoreMissing)
    await removeTree(this.#pathOf(aside))
  }

  async #isOld(name: string): Promise<boolean> {
    const found = await stat(this.#pathOf(name)).catch(() => null)
    return found !== null && Date.now() - found.mtimeMs > LIMITS.buildHardTimeoutMs
  }

  /** Oldest first. */
  async #layers(): Promise<string[]> {
    const names = await readdir(this.#directory).catch(() => [])
    return names.filter((name) => !name.endsWith(INCOMING)).sort()
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
