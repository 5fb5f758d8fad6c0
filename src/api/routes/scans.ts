import type { Scan } from '../../contract/scan.ts'
import { ShiplockError } from '../../core/errors.ts'
import type { ScanVerdict } from '../../domain/deployment.ts'
import { judgeScan, type ScanBaseline } from '../../domain/scan-policy.ts'
import type { Queryable } from '../../store/database.ts'
import { findDeploymentRecord } from '../../store/sql/deployment-view.ts'
import { findScan } from '../../store/sql/scans.ts'
import type { Handlers } from '../route-context.ts'

export const scanHandlers: Handlers<'getDeploymentScan'> = {
  getDeploymentScan: async ({ params }, { dependencies }) => {
    const { database, clock } = dependencies
    const record = await findDeploymentRecord(database, params.id)
    if (record === null) throw new ShiplockError('NOT_FOUND', `no deployment ${params.id}`)
    const { scan, config } = record.deployment.facts
    if (scan === null || config === null) {
      throw new ShiplockError('NOT_FOUND', `${params.id} has no scan: it did not come so far, or goes back to what was never scanned`, {
        hint: '`shiplock status` says where it stands.',
      })
    }
    const { project, environment, service } = record
    const about = { deploymentId: params.id, project, environment, service, outcome: scan.outcome, note: scan.note }
    const stored = scan.report === undefined ? null : await findScan(database, scan.report)
    if (stored === null) return { ...about, report: null, findings: [] }
    const { report, deploymentId } = stored
    const { findings } = judgeScan(report, config.scan, await baselineOf(database, scan), clock.now())
    return {
      ...about,
      report: { ...reportOf(report), deploymentId },
      findings: findings.map(({ waiver, ...finding }) => ({ ...finding, waiver: waiver === null ? null : { ...waiver } })),
    }
  },
}

function reportOf({
  findings: _,
  ...report
}: NonNullable<Awaited<ReturnType<typeof findScan>>>['report']): Omit<NonNullable<Scan['report']>, 'deploymentId'> {
  return { ...report, targets: report.targets.map((target) => ({ ...target })), notes: [...report.notes], gaps: [...report.gaps] }
}

/** What it was compared with then: live has changed since. */
async function baselineOf(db: Queryable, { baseline }: ScanVerdict): Promise<ScanBaseline> {
  const stored = baseline == null ? null : await findScan(db, baseline.report)
  if (baseline == null || stored === null) return { kind: 'nothing-live' }
  return { kind: 'scanned', name: baseline.name, findings: stored.report.findings }
}
