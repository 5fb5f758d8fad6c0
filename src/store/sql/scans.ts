import { LIMITS } from '../../core/limits.ts'
import type { DeploymentId, ProjectId, ServiceEnvironmentId } from '../../domain/ids.ts'
import type { ScanBaseline } from '../../domain/scan-policy.ts'
import { type ScanReport, scanSubject } from '../../domain/scan-report.ts'
import type { Queryable } from '../database.ts'
import { type ReleaseRow, toRelease } from '../rows.ts'

/** A report and the deployment that made it, under whose id it is kept. */
export interface StoredScan {
  readonly deploymentId: DeploymentId
  readonly report: ScanReport
}

interface ScanRow {
  deployment_id: DeploymentId
  scanner: string
  scanner_version: string | null
  database_at: string | Date | null
  scanned_at: string | Date
  critical: number
  high: number
  medium: number
  low: number
  unknown: number
  targets: ScanReport['targets']
  findings: ScanReport['findings']
  notes: ScanReport['notes']
  gaps: ScanReport['gaps']
}

/** Keeps a report. Written once per deployment; the same one again is success. Lets go of old ones that nothing kept refers to. */
export async function insertScan(
  tx: Queryable,
  scan: StoredScan & { readonly projectId: ProjectId; readonly subject: string },
): Promise<void> {
  const { report } = scan
  await tx.query(
    `insert into scans (deployment_id, project_id, subject, scanner, scanner_version, database_at, scanned_at,
                        critical, high, medium, low, unknown, targets, findings, notes, gaps)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) on conflict (deployment_id) do nothing`,
    [
      scan.deploymentId,
      scan.projectId,
      scan.subject,
      report.scanner,
      report.version,
      report.databaseAt,
      report.scannedAt,
      report.counts.critical,
      report.counts.high,
      report.counts.medium,
      report.counts.low,
      report.counts.unknown,
      JSON.stringify(report.targets),
      JSON.stringify(report.findings),
      JSON.stringify(report.notes),
      JSON.stringify(report.gaps),
    ],
  )
  await tx.query(
    `delete from scans s where s.project_id = $1 and s.scanned_at < now() - make_interval(secs => $2)
        and not exists (select 1 from releases r join deployments d on d.id = r.deployment_id
                         where d.project_id = $1 and r.deleted_at is null and starts_with(s.subject, r.artifact->>'digest'))`,
    [scan.projectId, LIMITS.scanKeptMs / 1000],
  )
}

/** The newest report about that subject (`scanSubject`), within the project. */
export async function findScanOf(db: Queryable, projectId: ProjectId, subject: string): Promise<StoredScan | null> {
  const [row] = await db.query<ScanRow>('select * from scans where project_id = $1 and subject = $2 order by scanned_at desc limit 1', [
    projectId,
    subject,
  ])
  return row === undefined ? null : toScan(row)
}

export async function findScan(db: Queryable, deploymentId: string): Promise<StoredScan | null> {
  const [row] = await db.query<ScanRow>('select * from scans where deployment_id = $1', [deploymentId])
  return row === undefined ? null : toScan(row)
}

/** What is known of the artifact that serves now, and whose report that is. */
export async function findLiveScan(
  db: Queryable,
  id: ServiceEnvironmentId,
  projectId: ProjectId,
): Promise<{ readonly baseline: ScanBaseline; readonly report: DeploymentId | null }> {
  const [row] = await db.query<ReleaseRow>(
    `select r.* from service_environments se
       join deployments d on d.id = se.live_deployment_id
       join releases r on r.id = coalesce(d.release_id, d.rollback_to)
      where se.id = $1`,
    [id],
  )
  if (row === undefined) return { baseline: { kind: 'nothing-live' }, report: null }
  const live = toRelease(row)
  const name = `v${live.number}`
  const scan = await findScanOf(db, projectId, scanSubject(live.artifact))
  if (scan === null) return { baseline: { kind: 'not-scanned', name }, report: null }
  return { baseline: { kind: 'scanned', name, findings: scan.report.findings }, report: scan.deploymentId }
}

function toScan(row: ScanRow): StoredScan {
  return {
    deploymentId: row.deployment_id,
    report: {
      scanner: row.scanner,
      version: row.scanner_version,
      databaseAt: row.database_at === null ? null : new Date(row.database_at).toISOString(),
      scannedAt: new Date(row.scanned_at).toISOString(),
      targets: row.targets,
      counts: { critical: row.critical, high: row.high, medium: row.medium, low: row.low, unknown: row.unknown },
      findings: row.findings,
      notes: row.notes,
      gaps: row.gaps,
    },
  }
}
