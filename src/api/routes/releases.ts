import { ShiplockError } from '../../core/errors.ts'
import type { ProjectId } from '../../domain/ids.ts'
import type { Release } from '../../domain/release.ts'
import { rollbackWarning } from '../../domain/scan-policy.ts'
import { scanSubject } from '../../domain/scan-report.ts'
import { rollBack } from '../../engine/commands/roll-back.ts'
import { chooseRollbackTarget } from '../../engine/commands/rollback-target.ts'
import { lockServiceEnvironment } from '../../store/sql/catalog.ts'
import { findReleaseRecord, listKeptReleases, listReleaseRecords, pinRelease } from '../../store/sql/release-view.ts'
import { findScanOf } from '../../store/sql/scans.ts'
import type { ApiDependencies } from '../dependencies.ts'
import type { Handlers, RouteContext } from '../route-context.ts'
import { viewRelease } from '../views.ts'
import { decodeNumberCursor, pageOf } from './cursor.ts'
import { readDeployment } from './deployments.ts'
import { type NamedScope, requireService } from './scope.ts'

export const releaseHandlers: Handlers<'createRollback' | 'planRollback' | 'listReleases' | 'pinRelease' | 'unpinRelease'> = {
  createRollback: ({ body }, { dependencies, actor, once }) =>
    once(async (tx) => {
      const found = await requireService(tx, body, dependencies)
      const { release: number = null, force, trigger, variables } = body
      const deployment = await rollBack(tx, found.id, { number, force, trigger, variables, actor: actor.name })
      return readDeployment(tx, deployment.id, dependencies)
    }),

  planRollback: async ({ params, query }, { dependencies }) => {
    const { database } = dependencies
    const target = await requireService(database, { ...query, ...params }, dependencies)
    const kept = await listKeptReleases(database, target.id)
    const chosen = chooseRollbackTarget(kept, { number: query.release ?? null, force: query.force })
    return {
      service: target.service,
      from: kept.find((record) => record.isLive)?.release.number ?? null,
      to: chosen.release.number,
      warm: chosen.hasStandby,
      differences: [...(await dependencies.explainRollback(target, chosen.release, query.variables))],
      warnings: await knownAgainst(dependencies, target.projectId, chosen.release),
    }
  },

  listReleases: async ({ params, query }, { dependencies }) => {
    const target = await requireService(dependencies.database, { ...query, ...params }, dependencies)
    const before = decodeNumberCursor(query.cursor)
    const rows = await listReleaseRecords(dependencies.database, target.id, { before, limit: query.limit + 1 })
    return pageOf(
      rows,
      query.limit,
      (row) => viewRelease(row, target),
      (row) => row.release.number,
    )
  },

  pinRelease: ({ params, query }, context) => setPin({ ...query, service: params.service }, params.release, true, context),
  unpinRelease: ({ params, query }, context) => setPin({ ...query, service: params.service }, params.release, false, context),
}

async function knownAgainst({ database, clock }: ApiDependencies, projectId: ProjectId, release: Release): Promise<string[]> {
  const stored = await findScanOf(database, projectId, scanSubject(release.artifact))
  const warning = stored === null ? null : rollbackWarning(`v${release.number}`, stored.report, release.config.scan, clock.now())
  return warning === null ? [] : [warning]
}

function setPin(scope: NamedScope, number: number, pinned: boolean, { dependencies, once }: RouteContext) {
  return once(async (tx) => {
    const found = await requireService(tx, scope, dependencies)
    // Retention decides under the same lock what it deletes.
    const target = await lockServiceEnvironment(tx, found.id)
    const record = await findReleaseRecord(tx, target.id, number)
    if (record === null) throw new ShiplockError('NOT_FOUND', `no release v${number} of ${target.service}`)
    if (pinned && !record.isKept) throw new ShiplockError('CONFLICT', `release v${number} is no longer kept: its artifact is gone`)
    await pinRelease(tx, record.release.id, pinned)
    return viewRelease({ ...record, release: { ...record.release, pinned } }, target)
  })
}
