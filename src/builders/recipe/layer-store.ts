import { randomBytes } from 'node:crypto'
import { mkdir, readdir, readFile, rename, stat, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { LIMITS } from '../../core/limits.ts'
import { removeTree } from '../../core/remove-tree.ts'
import { describeChange, type LayerParts, layerKey } from './layer-key.ts'

const INCOMING = '.incoming'

interface LayerAbout {
  readonly parts: LayerParts
  readonly bytes: number
  readonly files: number
  readonly madeAt: string
  /** Of a base layer that was made in a container: the system that goes with the files. */
  readonly image?: string
}

export interface StoredLayer {
  readonly name: string
  readonly about: LayerAbout
  readonly usedAt: number
}

export type FoundLayer =
  | { readonly kind: 'hit'; readonly tree: string; readonly about: LayerAbout }
  | { readonly kind: 'miss'; readonly reason: string }

/**
 * Layers of one kind of one service and environment. Each stands in `<key>.<time>/{tree,about.json}`, put there by one rename and never
 * changed afterwards: a kill leaves a whole layer or none, and a build that reads while another replaces it gets one of the two or an
 * error, never a mixture. Of a layer's generations the newest counts; layers of other keys are dropped when one is put.
 */
export class LayerStore {
  readonly #directory: string

  constructor(directory: string) {
    this.#directory = directory
  }

  async find(parts: LayerParts): Promise<FoundLayer> {
    const key = layerKey(parts)
    const layers = await this.list()
    const own = layers.findLast(({ name }) => name.startsWith(`${key}.`))
    if (own === undefined) {
      const last = layers.reduce<StoredLayer | null>(
        (newest, one) => (newest !== null && newest.about.madeAt > one.about.madeAt ? newest : one),
        null,
      )
      return { kind: 'miss', reason: last === null ? 'nothing was kept yet' : describeChange(last.about.parts, parts) }
    }
    const now = new Date()
    // Another build may have replaced it meanwhile: then reading fails too, and that is answered by who reads.
    await utimes(this.#aboutFile(own.name), now, now).catch(() => {})
    return { kind: 'hit', tree: join(this.#pathOf(own.name), 'tree'), about: own.about }
  }

  /** `fill` makes the tree, whose directory does not exist yet. */
  async put(parts: LayerParts, fill: (tree: string) => Promise<Pick<LayerAbout, 'files' | 'bytes' | 'image'>>): Promise<LayerAbout> {
    const incoming = `${randomBytes(8).toString('hex')}${INCOMING}`
    try {
      await mkdir(this.#pathOf(incoming), { recursive: true, mode: 0o700 })
      const about = { parts, ...(await fill(join(this.#pathOf(incoming), 'tree'))), madeAt: new Date().toISOString() }
      await writeFile(this.#aboutFile(incoming), JSON.stringify(about), { mode: 0o600 })
      await this.#replace(incoming, layerKey(parts))
      return about
    } catch (error) {
      await removeTree(this.#pathOf(incoming))
      throw error
    }
  }

  /** Whole layers, sorted by name: those of one key by age. */
  async list(): Promise<readonly StoredLayer[]> {
    const names = (await readdir(this.#directory).catch(() => [])).filter((name) => !name.endsWith(INCOMING)).sort()
    const found = await Promise.all(names.map((name) => this.#read(name)))
    return found.filter((layer) => layer !== null)
  }

  /** Renamed before it is removed: half of one must not be found under its name. */
  async discard(name: string): Promise<void> {
    const aside = `${randomBytes(8).toString('hex')}${INCOMING}`
    await rename(this.#pathOf(name), this.#pathOf(aside)).catch(ignoreMissing)
    await removeTree(this.#pathOf(aside))
  }

  async clear(): Promise<void> {
    for (const name of await readdir(this.#directory).catch(() => [])) {
      if (!name.endsWith(INCOMING)) await this.discard(name)
    }
    await this.removeLeft()
  }

  /** What a kill left: a build in progress is younger than the longest build. */
  async removeLeft(): Promise<void> {
    for (const name of await readdir(this.#directory).catch(() => [])) {
      if (!name.endsWith(INCOMING)) continue
      const found = await stat(this.#pathOf(name)).catch(() => null)
      if (found !== null && Date.now() - found.mtimeMs > LIMITS.buildHardTimeoutMs) await removeTree(this.#pathOf(name))
    }
  }

  async #replace(incoming: string, key: string): Promise<void> {
    // Time first, so that names sort by age; of two in one millisecond either will do.
    const name = `${key}.${Date.now().toString(36).padStart(10, '0')}${randomBytes(3).toString('hex')}`
    await rename(this.#pathOf(incoming), this.#pathOf(name))
    for (const other of await readdir(this.#directory)) {
      if (!other.endsWith(INCOMING) && (other < name || !other.startsWith(key))) await this.discard(other)
    }
    await this.removeLeft()
  }

  /** Null for one that vanished, or that an earlier version of the program wrote in another form. */
  async #read(name: string): Promise<StoredLayer | null> {
    try {
      const about = JSON.parse(await readFile(this.#aboutFile(name), 'utf8')) as LayerAbout
      return { name, about, usedAt: (await stat(this.#aboutFile(name))).mtimeMs }
    } catch {
      return null
    }
  }

  #pathOf(name: string): string {
    return join(this.#directory, name)
  }

  #aboutFile(name: string): string {
    return join(this.#pathOf(name), 'about.json')
  }
}

function ignoreMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error
}
