import type { DeploymentFacts } from '../domain/deployment.ts'
import type { ProjectId } from '../domain/ids.ts'
import type { Release } from '../domain/release.ts'
import { countsInWords, rollbackWarning } from '../domain/scan-policy.ts'
import { scanSubject } from '../domain/scan-report.ts'
import type { Queryable } from '../store/database.ts'
import { findScanOf } from '../store/sql/scans.ts'

/**
 * What is known of the artifact that a rollback goes back to. It is not scanned again and never blocked: what failed must be left at once.
 * But what the newest stored scan found is told, and stays on the record.
 */
export async function scanOfRollback(
  db: Queryable,
  projectId: ProjectId,
  release: Release,
  now: number,
): Promise<Pick<DeploymentFacts, 'scan' | 'warnings'>> {
  const stored = await findScanOf(db, projectId, scanSubject(release.artifact))
  if (stored === null) return { scan: null, warnings: [] }
  const { report, deploymentId } = stored
  const { critical, high, medium, low } = report.counts
  const warning = rollbackWarning(`v${release.number}`, report, release.config.scan, now)
  const note = `as scanned ${report.scannedAt.slice(0, 10)}: ${countsInWords(report.counts)}${report.gaps.length === 0 ? '' : `; not looked into: ${report.gaps.join('; ')}`}`
  return {
    scan: {
      outcome: warning !== null ? 'warned' : report.gaps.length > 0 ? 'partial' : 'passed',
      note,
      critical,
      high,
      medium,
      low,
      report: deploymentId,
      baseline: null,
    },
    warnings: warning === null ? [] : [warning],
  }
}
