import type { ServiceEnvironmentId } from '../domain/ids.ts'

/** `base`: what prepareCommands left. `build`: the paths in build.cache. `tools`: download caches of npm, pip and the like. */
export type CacheLayer = 'base' | 'build' | 'tools'

export interface CacheEntry {
  readonly serviceEnvironmentId: ServiceEnvironmentId
  readonly layer: CacheLayer
  readonly bytes: number
  /** ISO times. */
  readonly madeAt: string
  readonly usedAt: string
  /** Of a base layer that was made in a container: id of the image that goes with it. */
  readonly image?: string
}

/** While a build holds the caches of its service and environment, nothing that it has mounted is removed. */
export interface CacheHold {
  /** True once they were cleared: what this build knows comes from before and must not be kept. */
  readonly wasCleared: boolean
  release(): Promise<void>
}

/** The caches of all services on this server, within one size budget. */
export interface BuildCaches {
  list(): Promise<readonly CacheEntry[]>
  /** Forgets one layer, or all of them; returns the bytes that it had. @throws CONFLICT for `all` while a build of the service runs */
  clear(id: ServiceEnvironmentId, layer: 'base' | 'build' | 'all'): Promise<number>
  hold(id: ServiceEnvironmentId): CacheHold
  /** Drops what was used longest ago until the budget holds; returns what was dropped. */
  trim(): Promise<readonly CacheEntry[]>
}
