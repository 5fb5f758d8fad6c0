import type { ApiDependencies } from '../api/dependencies.ts'
import type { Settings } from '../config/settings.ts'
import { LIMITS } from '../core/limits.ts'
import type { DeploymentId } from '../domain/ids.ts'
import type { EngineDependencies } from '../engine/dependencies.ts'
import { collectGarbage } from '../engine/garbage.ts'
import { listGarbageRuns } from '../store/sql/garbage.ts'
import type { DiskWatch } from './disk-watch.ts'

/** What the build cache of the container engine may keep. */
export function buildCacheBytes(settings: Settings): number {
  return settings.buildCacheMb * 1024 ** 2
}

/** What is done when a disk is full: the build cache goes too. `except`: the deployment that wants the room. */
export function relieveDisk(engine: EngineDependencies, except: DeploymentId | null): Promise<unknown> {
  return collectGarbage(engine, { reason: 'disk', isDryRun: false, buildCacheBytes: 0, except })
}

/** Clearing up as the API offers it. */
export function composeGarbage(settings: Settings, engine: EngineDependencies, disk: DiskWatch): ApiDependencies['garbage'] {
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
