import { stat, statfs } from 'node:fs/promises'
import type { Settings } from '../config/settings.ts'
import { type Clock, systemClock } from '../core/clock.ts'
import type { DiskPlace, DiskWriter } from '../core/disk-writer.ts'
import { LIMITS } from '../core/limits.ts'
import type { Logger } from '../core/log.ts'
import { reserveOn, shortageOf, type VolumeSpace } from '../domain/disk.ts'
import { formatBytes } from '../domain/format-bytes.ts'
import type { DeploymentId, InstanceId } from '../domain/ids.ts'
import { DiskGuard, type GuardedVolume } from '../engine/disk-guard.ts'
import type { Runtime } from '../runtimes/runtime.ts'
import type { Database } from '../store/database.ts'
import { getServiceEnvironment } from '../store/sql/catalog.ts'
import { appendEvents } from '../store/sql/events.ts'
import { findInstance } from '../store/sql/instances.ts'
import { sumProjectTrees } from '../store/sql/releases.ts'

export interface DiskGuardSources {
  readonly database: Database
  readonly runtime: Runtime
  /** Where the container engine keeps what containers write; null = not on this host, or not known now. */
  readonly engineRoot: () => Promise<string | null>
}

export function composeDiskGuard(settings: Settings, logger: Logger, { database, runtime, engineRoot }: DiskGuardSources): DiskGuard {
  const places = remembered(systemClock, async () => placesOf(settings.dataDirectory, await engineRoot()))
  return new DiskGuard({
    clock: systemClock,
    logger,
    volumes: async () => guardedVolumes(await places()),
    writers: async () => (await runtime.diskWriters?.()) ?? [],
    reserve: reserveOf(settings),
    projectBytes: settings.projectDiskMb === null ? null : settings.projectDiskMb * 1024 ** 2,
    onEnded: (writer, reason) => announce(database, writer, reason),
  })
}

export function reserveOf(settings: Settings) {
  return { bytes: settings.diskReserveMb * 1024 ** 2, files: LIMITS.diskReserveFiles }
}

/** As `df` counts: what is reserved for root is neither in use nor free. null = it can't be seen from here. */
export async function spaceAt(path: string): Promise<VolumeSpace | null> {
  try {
    const { blocks, bfree, bavail, bsize, files, ffree } = await statfs(path)
    return { path, totalBytes: (blocks - bfree + bavail) * bsize, freeBytes: bavail * bsize, totalFiles: files, freeFiles: ffree }
  } catch {
    return null
  }
}

/** Why a deployment's project may keep no further artifact; null = it may. */
export async function whyProjectFull(settings: Settings, database: Database, deployment: DeploymentId): Promise<string | null> {
  const volume = (await spaceAt(settings.dataDirectory))?.totalBytes ?? 0
  const most = settings.projectDiskMb === null ? volume / 2 : settings.projectDiskMb * 1024 ** 2
  const kept = await sumProjectTrees(database, deployment)
  return kept <= most ? null : `its releases keep ${formatBytes(kept)} on disk, their limit is ${formatBytes(most)}`
}

/** Why nothing more may be written on the volume of the data directory; null = there is room. */
export async function whyShort(settings: Settings): Promise<string | null> {
  const space = await spaceAt(settings.dataDirectory)
  const reserve = space === null ? null : reserveOn(space, reserveOf(settings))
  const of = space === null || reserve === null ? null : shortageOf(space, reserve)
  if (space === null || reserve === null || of === null) return null
  return of === 'bytes'
    ? `${formatBytes(space.freeBytes)} are free at ${space.path}, and ${formatBytes(reserve.bytes)} are kept for the database and the edge`
    : `${space.freeFiles} inodes are free at ${space.path}, and ${Math.round(reserve.files)} are kept for the database and the edge`
}

type Place = readonly [path: string, places: readonly DiskPlace[]]

async function placesOf(dataDirectory: string, engineRoot: string | null): Promise<readonly Place[]> {
  const isApart = engineRoot !== null && (await deviceOf(engineRoot)) !== (await deviceOf(dataDirectory))
  if (!isApart) return [[dataDirectory, ['data', 'engine']]]
  return [
    [dataDirectory, ['data']],
    [engineRoot, ['engine']],
  ]
}

async function guardedVolumes(places: readonly Place[]): Promise<GuardedVolume[]> {
  const found = await Promise.all(places.map(async ([path, kinds]) => ({ space: await spaceAt(path), kinds })))
  return found.flatMap(({ space, kinds }) => (space === null ? [] : [{ ...space, places: kinds }]))
}

/** What is looked at many times a second and asked of another program: waited for once, then renewed in the background. */
function remembered<T>(clock: Clock, ask: () => Promise<T>): () => Promise<T> {
  let known = ask()
  let askedAt = clock.monotonic()
  return () => {
    if (clock.monotonic() - askedAt > PLACES_KEPT_MS) {
      askedAt = clock.monotonic()
      ask().then(
        (value) => {
          known = Promise.resolve(value)
        },
        () => {},
      )
    }
    return known
  }
}
const PLACES_KEPT_MS = 60_000

async function deviceOf(path: string): Promise<number | null> {
  return (await stat(path).catch(() => null))?.dev ?? null
}

async function announce(database: Database, writer: DiskWriter, reason: string): Promise<void> {
  const instance = await findInstance(database, writer.id as InstanceId)
  const target = instance === null ? null : await getServiceEnvironment(database, instance.serviceEnvironmentId)
  if (instance === null || target === null) return
  const { projectId, environmentId, serviceId } = target
  await database.transaction((tx) =>
    appendEvents(tx, [
      {
        type: 'instance.disk_limit',
        message: `instance ${instance.index} was stopped: ${reason}`,
        ...{ projectId, environmentId, serviceId, serviceEnvironmentId: target.id },
        deploymentId: instance.deploymentId,
        instanceId: instance.id,
        data: {},
      },
    ]),
  )
}
