import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { crashPoint } from '../core/crash-points.ts'
import { LIMITS } from '../core/limits.ts'
import type { Instance } from '../domain/deployment.ts'
import type { DeploymentId, Digest } from '../domain/ids.ts'
import { releasesToDelete } from '../domain/retention.ts'
import { deleteOldAudit } from '../store/sql/audit.ts'
import { getServiceEnvironment, lockServiceEnvironment } from '../store/sql/catalog.ts'
import { appendEvents } from '../store/sql/events.ts'
import { deleteOldAnswers } from '../store/sql/idempotency.ts'
import { findInstance, listExpiredStandby, moveInstance, saveInstances } from '../store/sql/instances.ts'
import { nextFence } from '../store/sql/leases.ts'
import { listNeededLayers, listNeededTrees, listProtectedReleases, listReleases, markReleasesDeleted } from '../store/sql/releases.ts'
import { deleteEndedTokens } from '../store/sql/tokens.ts'
import {
  filterEnvironments,
  filterKnownInstances,
  filterUnsettled,
  forgetUpload,
  isBuilding,
  listNeededUploads,
  listOverRetention,
  listStranded,
} from '../store/sql/upkeep.ts'
import type { EngineDependencies } from './dependencies.ts'
import { Periodic } from './periodic.ts'

/** Takes away what nobody needs: standby that is over, real things without a row, old releases, unused artifacts, left work directories. */
export function createReaper(dependencies: EngineDependencies): Periodic {
  return new Periodic('reaper', LIMITS.reaperPeriodMs, dependencies, () => reap(dependencies))
}

export async function reap(dependencies: EngineDependencies): Promise<void> {
  await removeExpiredStandby(dependencies)
  await removeStranded(dependencies)
  await removeOrphans(dependencies)
  await removeOldUploads(dependencies)
  await dropOldReleases(dependencies)
  await removeUnusedTrees(dependencies)
  await removeUnusedLayers(dependencies)
  await removeLeftDirectories(dependencies)
  await dependencies.drivers.retainUsers?.((known) => filterEnvironments(dependencies.database, known))
  await deleteOldAnswers(dependencies.database)
  await deleteOldAudit(dependencies.database, LIMITS.auditKeptMs)
  await deleteEndedTokens(dependencies.database, LIMITS.endedTokensKeptMs)
}

async function removeExpiredStandby(dependencies: EngineDependencies): Promise<void> {
  const { database, drivers, owner } = dependencies
  for (const instance of await listExpiredStandby(database, owner.serverId)) {
    // The row moves first: a rollback that wants this instance either finds it in standby or not at all.
    // Under the lock of the route a swap-back that wants it sees the same.
    const isOurs = await database.transaction(async (tx) => {
      await lockServiceEnvironment(tx, instance.serviceEnvironmentId)
      return moveInstance(tx, instance.id, 'standby', 'removed')
    })
    if (!isOurs) continue
    crashPoint('standby.removed-not-recorded')
    await drivers.runtime.remove(instance.id, await nextFence(database))
    await announce(dependencies, instance, 'instance.removed', `standby of instance ${instance.index} is over`)
  }
}

async function removeStranded(dependencies: EngineDependencies): Promise<void> {
  const { database, drivers, owner } = dependencies
  for (const id of await listStranded(database, owner.serverId)) {
    await drivers.runtime.remove(id, await nextFence(database))
    const instance = await findInstance(database, id)
    if (instance !== null) await database.transaction((tx) => saveInstances(tx, [{ ...instance, state: 'removed' }]))
  }
}

/** A release keeps its artifact, not its upload; for a while the same upload may be deployed again without being sent again. */
async function removeOldUploads(dependencies: EngineDependencies): Promise<void> {
  const { database, uploads, clock } = dependencies
  const old = (await uploads.list()).filter((upload) => upload.receivedAt < clock.now() - LIMITS.uploadKeptMs)
  if (old.length === 0) return
  const needed = await listNeededUploads(database)
  for (const { digest } of old.filter((upload) => !needed.has(upload.digest))) {
    await forgetUpload(database, digest)
    await uploads.remove(digest)
  }
}

/** Real things that carry our labels but have no row (or a row that says removed), and whose deployment has ended (I5). */
async function removeOrphans(dependencies: EngineDependencies): Promise<void> {
  const { database, drivers } = dependencies
  const real = await drivers.runtime.list()
  if (real.length === 0) return
  // In this order: once a deployment has settled its rows are complete. The other way round, one that settles in between loses what it serves with.
  const unsettled = await filterUnsettled(
    database,
    real.map((entry) => entry.labels.deploymentId),
  )
  const known = await filterKnownInstances(
    database,
    real.map((entry) => entry.id),
  )
  for (const orphan of real.filter((entry) => !known.has(entry.id) && !unsettled.has(entry.labels.deploymentId))) {
    await drivers.runtime.remove(orphan.id, await nextFence(database))
    dependencies.logger.info('an orphan was removed', { instanceId: orphan.id, title: orphan.labels.title, was: orphan.status.state })
    await announce(
      dependencies,
      { id: orphan.id, deploymentId: orphan.labels.deploymentId, serviceEnvironmentId: orphan.labels.serviceEnvironmentId },
      'orphan.removed',
      `an instance of ${orphan.labels.title} without a record was removed (${orphan.status.state})`,
    )
  }
}

async function announce(
  dependencies: EngineDependencies,
  instance: Pick<Instance, 'id' | 'deploymentId' | 'serviceEnvironmentId'>,
  type: 'instance.removed' | 'orphan.removed',
  message: string,
): Promise<void> {
  await dependencies.database.transaction(async (tx) => {
    const target = await getServiceEnvironment(tx, instance.serviceEnvironmentId)
    await appendEvents(tx, [
      {
        type,
        message,
        projectId: target?.projectId ?? null,
        environmentId: target?.environmentId ?? null,
        serviceId: target?.serviceId ?? null,
        serviceEnvironmentId: target?.id ?? null,
        deploymentId: instance.deploymentId,
        instanceId: instance.id,
        data: {},
      },
    ])
  })
}

async function dropOldReleases(dependencies: EngineDependencies): Promise<void> {
  for (const { id, retention } of await listOverRetention(dependencies.database)) {
    await dependencies.database.transaction(async (tx) => {
      // The lock under which rollbacks are queued and releases pinned.
      const target = await lockServiceEnvironment(tx, id)
      const releases = await listReleases(tx, id)
      const dropped = releasesToDelete(releases, await listProtectedReleases(tx, id), retention)
      await markReleasesDeleted(
        tx,
        dropped.map((release) => release.id),
      )
      await appendEvents(
        tx,
        dropped.map((release) => ({
          type: 'release.deleted' as const,
          message: `v${release.number} is no longer kept (retention ${retention})`,
          projectId: target.projectId,
          environmentId: target.environmentId,
          serviceId: target.serviceId,
          serviceEnvironmentId: id,
          deploymentId: release.deploymentId,
          instanceId: null,
          data: { number: release.number },
        })),
      )
    })
  }
}

async function removeUnusedTrees(dependencies: EngineDependencies): Promise<void> {
  const { database, drivers } = dependencies
  const stored = await drivers.artifacts.list()
  const needed = await listNeededTrees(database)
  if (stored.every((tree) => needed.has(tree.digest))) return
  await database.transaction(async (tx) => {
    if (await isBuilding(tx)) return
    const neededNow = await listNeededTrees(tx)
    const unused = stored.map((tree) => tree.digest).filter((digest: Digest) => !neededNow.has(digest))
    for (const digest of unused) await drivers.artifacts.remove(digest)
  })
}

/** What no kept release runs with goes once it has not been used for a day: the next attempt of a failed deployment may want it. */
async function removeUnusedLayers({ database, drivers, clock }: EngineDependencies): Promise<void> {
  const layers = (await drivers.runtimeLayers?.list()) ?? []
  const idle = layers.filter((layer) => clock.now() - Date.parse(layer.usedAt) > LIMITS.runtimeLayerIdleMs)
  if (idle.length === 0) return
  const needed = await listNeededLayers(database)
  for (const layer of idle) if (!needed.has(layer.id)) await drivers.runtimeLayers?.remove(layer.serviceEnvironmentId, layer.id)
}

async function removeLeftDirectories(dependencies: EngineDependencies): Promise<void> {
  const parent = join(dependencies.workDirectory, 'deployments')
  const ids = (await readdir(parent).catch(() => [])) as DeploymentId[]
  if (ids.length === 0) return
  const unsettled = await filterUnsettled(dependencies.database, ids)
  for (const id of ids.filter((known) => !unsettled.has(known))) await rm(join(parent, id), { recursive: true, force: true })
}
