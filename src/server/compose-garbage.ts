import type { ApiDependencies } from '../api/dependencies.ts'
import type { Settings } from '../config/settings.ts'
import { LIMITS } from '../core/limits.ts'
import type { EngineDependencies } from '../engine/dependencies.ts'
import { collectGarbage } from '../engine/garbage.ts'
import { listGarbageRuns } from '../store/sql/garbage.ts'
import type { DiskWatch } from './disk-watch.ts'

/** What the build cache of the container engine may keep. */
export function buildCacheBytes(settings: Settings): number {
  return settings.buildCacheMb * 1024 ** 2
}

/** Clearing up as the API offers it; a disk that is full takes the build cache too. */
export function composeGarbage(settings: Settings, engine: EngineDependencies, disk: DiskWatch): ApiDependencies['garbage'] {
  disk.relieve = (deployment) => collectGarbage(engine, { reason: 'disk', isDryRun: false, buildCacheBytes: 0, except: deployment })
  return {
    collect: async (isDryRun) => {
      const keep = buildCacheBytes(settings)
      const result = await collectGarbage(engine, { reason: 'asked', isDryRun, buildCacheBytes: keep, except: null })
      const images = result.images.map((image) => ({ ...image, names: [...image.names] }))
      return { dryRun: isDryRun, bytes: result.bytes, removed: result.counts, images, kept: result.kept, full: await disk.whyFull() }
    },
    runs: () => listGarbageRuns(engine.database, engine.owner.serverId, LIMITS.garbageRunsShown),
  }
}
