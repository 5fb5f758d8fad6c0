import { LIMITS } from '../core/limits.ts'
import { type ImageFate, identitiesOf, imageFates, NOT_OURS } from '../domain/garbage.ts'
import type { DeploymentId } from '../domain/ids.ts'
import type { ImageStore } from '../registry/image-store.ts'
import { appendEvents } from '../store/sql/events.ts'
import {
  filterBuiltImages,
  type GarbageCounts,
  type GarbageReason,
  isImageBuilding,
  listNeededImages,
  recordGarbageRun,
} from '../store/sql/garbage.ts'
import type { EngineDependencies } from './dependencies.ts'
import { Periodic } from './periodic.ts'
import { reap } from './reaper.ts'

export interface GarbageReport {
  /** What went, or with a dry run what would. */
  readonly images: readonly { readonly id: string; readonly names: readonly string[]; readonly bytes: number; readonly why: string }[]
  readonly counts: GarbageCounts
  /** That the engine has less now. With a dry run: at most so many, since images share layers. */
  readonly bytes: number
  /** Images of ours that stay because something needs them. */
  readonly kept: number
}

export interface GarbageOptions {
  readonly reason: GarbageReason
  readonly isDryRun: boolean
  /** What the build cache may keep; 0 when the disk is full. */
  readonly buildCacheBytes: number
  /** A deployment that waits for room and has not begun to build. */
  readonly except: DeploymentId | null
}

const NOTHING: GarbageReport = { images: [], counts: { images: 0, names: 0, buildCacheBytes: 0, networks: 0 }, bytes: 0, kept: 0 }

/** Clears up the container engine round by round, also after failed deployments; file trees and instances are the reaper's. */
export function createGarbageCollector(dependencies: EngineDependencies, buildCacheBytes: number): Periodic {
  return new Periodic('garbage collector', LIMITS.garbagePeriodMs, dependencies, async () => {
    await collectGarbage(dependencies, { reason: 'periodic', isDryRun: false, buildCacheBytes, except: null })
  })
}

/**
 * Images, build cache and networks that nobody needs. What is needed is asked again before each removal, and nothing goes while a
 * deployment may have made an image that no row names yet: a release never loses what it runs with.
 */
export async function collectGarbage(dependencies: EngineDependencies, options: GarbageOptions): Promise<GarbageReport> {
  const { images: store } = dependencies.drivers
  // Retention first: what it lets go is garbage now. It also takes away trees, standby that is over and orphans.
  if (options.reason === 'asked' && !options.isDryRun) await reap(dependencies)
  if (store === null || store === undefined || !store.isReachable) return NOTHING
  const fates = await decide(dependencies, store)
  const kept = fates.filter(({ fate, why }) => fate === 'keep' && why !== NOT_OURS).length
  const going = fates.filter(({ fate }) => fate !== 'keep').slice(0, LIMITS.garbageImages)
  if (options.isDryRun) return report(going, { kept, cacheBytes: 0, networks: 0, bytes: sumOf(going) })
  const before = going.length === 0 ? 0 : await store.usedBytes()
  const gone: ImageFate[] = []
  for (const fate of going) if (await removeIfFree(dependencies, store, fate, options.except)) gone.push(fate)
  const cacheBytes = await store.pruneBuildCache(options.buildCacheBytes)
  const networks = await store.pruneNetworks()
  const bytes = gone.length === 0 ? cacheBytes : Math.max(cacheBytes, before - (await store.usedBytes()))
  const result = report(gone, { kept, cacheBytes, networks, bytes })
  if (gone.length > 0 || bytes > 0 || networks > 0) await record(dependencies, options.reason, result)
  return result
}

async function decide(dependencies: EngineDependencies, store: ImageStore): Promise<ImageFate[]> {
  const { database, clock } = dependencies
  const images = await store.list()
  const built = await filterBuiltImages(
    database,
    images.map((image) => image.id),
  )
  const needed = await neededImages(dependencies)
  return imageFates(images, { needed, built, owner: store.owner, now: clock.now(), graceMs: LIMITS.garbageGraceMs })
}

/** Layers live by their own rules (budget, last use); their images go when they have gone. */
async function neededImages({ database, drivers }: EngineDependencies): Promise<ReadonlySet<string>> {
  return new Set([...(await listNeededImages(database)), ...((await drivers.layerImages?.()) ?? [])])
}

/** Between the look and the removal a deployment may have come to need it. */
async function removeIfFree(
  dependencies: EngineDependencies,
  store: ImageStore,
  { image, names }: ImageFate,
  except: DeploymentId | null,
): Promise<boolean> {
  if (await isImageBuilding(dependencies.database, except)) return false
  const needed = await neededImages(dependencies)
  if (identitiesOf(image).some((name) => needed.has(name))) return false
  return store.remove(image, names)
}

function report(
  fates: readonly ImageFate[],
  sums: { readonly kept: number; readonly cacheBytes: number; readonly networks: number; readonly bytes: number },
): GarbageReport {
  const removed = fates.filter(({ fate }) => fate === 'remove').length
  return {
    images: fates.map(({ image, names, why }) => ({ id: image.id, names, bytes: image.bytes, why })),
    counts: { images: removed, names: fates.length - removed, buildCacheBytes: sums.cacheBytes, networks: sums.networks },
    bytes: sums.bytes,
    kept: sums.kept,
  }
}

function sumOf(fates: readonly ImageFate[]): number {
  return fates.reduce((sum, { fate, image }) => sum + (fate === 'remove' ? image.bytes : 0), 0)
}

async function record({ database, owner }: EngineDependencies, reason: GarbageReason, result: GarbageReport): Promise<void> {
  const { counts, bytes } = result
  await database.transaction(async (tx) => {
    await recordGarbageRun(tx, owner.serverId, { reason, bytes, removed: counts })
    await appendEvents(tx, [
      {
        type: 'garbage.collected',
        message: `${(bytes / 1024 ** 2).toFixed(1)} MiB reclaimed: ${counts.images} images, ${(counts.buildCacheBytes / 1024 ** 2).toFixed(1)} MiB of build cache, ${counts.networks} networks`,
        projectId: null,
        environmentId: null,
        serviceId: null,
        serviceEnvironmentId: null,
        deploymentId: null,
        instanceId: null,
        data: { ...counts, bytes, reason },
      },
    ])
  })
}
