import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { usage } from '../../core/disk-use.ts'
import { ShiplockError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { Logger } from '../../core/log.ts'
import { removeTree } from '../../core/remove-tree.ts'
import { formatBytes } from '../../domain/format-bytes.ts'
import type { ServiceEnvironmentId } from '../../domain/ids.ts'
import type { BuildCaches, CacheEntry, CacheHold } from '../build-caches.ts'
import { BASE_LAYER_DIRECTORY } from './base-layer.ts'
import { BUILD_LAYER_DIRECTORY } from './layer-cache.ts'
import { LayerStore } from './layer-store.ts'

export const TOOLS_DIRECTORY = 'tools'
/** Size of the tool caches when last measured; its time of change is when they were last used. */
const TOOLS_FILE = 'tools.bytes'
const SERVICE_ENVIRONMENT_ID = /^[a-z0-9_]{1,100}$/
const STORES = { base: BASE_LAYER_DIRECTORY, build: BUILD_LAYER_DIRECTORY } as const

export interface BuildCacheOptions {
  /** Holds one directory per service environment: the `cacheDirectory` of its builds. */
  readonly directory: string
  readonly bytesMax?: number
  readonly logger: Logger
}

interface Found extends CacheEntry {
  remove(): Promise<void>
}

/** Keeps the build caches of this server within their budget. One server per data directory: who holds what is known in memory. */
export function createBuildCaches(options: BuildCacheOptions): BuildCaches {
  return new BuildCacheStore(options)
}

class BuildCacheStore implements BuildCaches {
  readonly #directory: string
  readonly #bytesMax: number
  readonly #logger: Logger
  readonly #holds = new Map<ServiceEnvironmentId, Set<{ wasCleared: boolean }>>()

  constructor({ directory, bytesMax, logger }: BuildCacheOptions) {
    this.#directory = directory
    this.#bytesMax = bytesMax ?? LIMITS.buildCacheBytes
    this.#logger = logger
  }

  async list(): Promise<readonly CacheEntry[]> {
    return (await this.#find()).map(({ remove: _, ...entry }) => entry)
  }

  async clear(id: ServiceEnvironmentId, layer: 'base' | 'build' | 'all'): Promise<number> {
    if (layer === 'all' && this.#holds.has(id)) {
      throw new ShiplockError('CONFLICT', 'a build of this service is running: its tools have their caches open', {
        hint: 'Wait until it has ended, or clear only the layers base and build.',
      })
    }
    for (const hold of this.#holds.get(id) ?? []) hold.wasCleared = true
    const entries = (await this.#find()).filter((entry) => entry.serviceEnvironmentId === id && (layer === 'all' || entry.layer === layer))
    for (const entry of entries) await entry.remove()
    return entries.reduce((sum, entry) => sum + entry.bytes, 0)
  }

  hold(id: ServiceEnvironmentId): CacheHold {
    const hold = { wasCleared: false }
    const holds = this.#holds.get(id) ?? new Set()
    this.#holds.set(id, holds.add(hold))
    return {
      get wasCleared() {
        return hold.wasCleared
      },
      release: async () => {
        holds.delete(hold)
        if (holds.size === 0) this.#holds.delete(id)
        await this.#measureTools(id)
        await this.trim()
      },
    }
  }

  async trim(): Promise<readonly CacheEntry[]> {
    const entries = (await this.#find()).sort((a, b) => (a.usedAt < b.usedAt ? -1 : 1))
    let total = entries.reduce((sum, entry) => sum + entry.bytes, 0)
    const dropped: CacheEntry[] = []
    for (const entry of entries) {
      if (total <= this.#bytesMax) break
      // Layers are only copied from, and a build that finds one gone does without; tool caches are mounted.
      if (entry.layer === 'tools' && this.#holds.has(entry.serviceEnvironmentId)) continue
      await entry.remove()
      total -= entry.bytes
      const { remove: _, ...plain } = entry
      dropped.push(plain)
      const { serviceEnvironmentId, layer } = entry
      this.#logger.info('a build cache was dropped for want of space', { serviceEnvironmentId, layer, bytes: entry.bytes })
    }
    if (total > this.#bytesMax) this.#logger.warn(`build caches hold ${formatBytes(total)}, more than they may`, {})
    return dropped
  }

  async #find(): Promise<Found[]> {
    const ids = await readdir(this.#directory).catch(() => [])
    const found: Found[] = []
    for (const id of ids.filter((name) => SERVICE_ENVIRONMENT_ID.test(name)) as ServiceEnvironmentId[]) {
      for (const [layer, name] of Object.entries(STORES) as ['base' | 'build', string][]) {
        const store = new LayerStore(join(this.#directory, id, name))
        for (const { name: key, about, usedAt } of await store.list()) {
          const times = { madeAt: about.madeAt, usedAt: new Date(usedAt).toISOString() }
          const image = about.image === undefined ? {} : { image: about.image }
          found.push({ serviceEnvironmentId: id, layer, bytes: about.bytes, ...times, ...image, remove: () => store.discard(key) })
        }
      }
      const tools = await this.#findTools(id)
      if (tools !== null) found.push(tools)
    }
    return found
  }

  async #findTools(id: ServiceEnvironmentId): Promise<Found | null> {
    const directory = join(this.#directory, id, TOOLS_DIRECTORY)
    const { birthtime } = await stat(directory).catch(() => ({ birthtime: null }))
    if (birthtime === null) return null
    const file = join(this.#directory, id, TOOLS_FILE)
    // A build that was killed left no measure.
    const bytes = Number(await readFile(file, 'utf8').catch(() => '')) || (await this.#measureTools(id))
    const usedAt = (await stat(file).catch(() => null))?.mtime ?? birthtime
    const times = { madeAt: birthtime.toISOString(), usedAt: usedAt.toISOString() }
    return { serviceEnvironmentId: id, layer: 'tools', bytes, ...times, remove: () => removeTree(directory) }
  }

  async #measureTools(id: ServiceEnvironmentId): Promise<number> {
    const directory = join(this.#directory, id)
    const [bytes = 0] = await usage([join(directory, TOOLS_DIRECTORY)])
    if (bytes === 0) return 0
    await mkdir(directory, { recursive: true, mode: 0o755 })
    const file = join(directory, TOOLS_FILE)
    await writeFile(file, `${bytes}\n`, { mode: 0o600 })
    return bytes
  }
}
