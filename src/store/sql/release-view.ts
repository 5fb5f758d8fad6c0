import type { DeploymentId } from '../../domain/ids.ts'
import type { Release } from '../../domain/release.ts'
import type { SeverityCounts } from '../../domain/scan-report.ts'
import type { Queryable } from '../database.ts'
import { type ReleaseRow, toRelease } from '../rows.ts'

/** A release with what has become of it. */
export interface ReleaseRecord {
  readonly release: Release
  readonly isKept: boolean
  readonly isLive: boolean
  /** Stopped or warm instances of it still stand. */
  readonly hasStandby: boolean
  /** Status of the last deployment that had it as its target. */
  readonly lastStatus: string | null
  /** The newest of its artifact. */
  readonly scan: {
    readonly counts: SeverityCounts
    readonly scannedAt: string
    readonly isPartial: boolean
    readonly deploymentId: DeploymentId
  } | null
}

type Row = ReleaseRow & {
  deleted_at: string | null
  is_live: boolean
  has_standby: boolean
  last_status: string | null
  scan: ReleaseRecord['scan']
}

const SELECT = `select r.*,
    exists (select 1 from service_environments se join deployments d on d.id = se.live_deployment_id
             where se.id = r.service_environment_id and coalesce(d.release_id, d.rollback_to) = r.id) as is_live,
    exists (select 1 from instances i where i.release_id = r.id and i.state in ('warm', 'standby')) as has_standby,
    (select d.status from deployments d
      where d.service_environment_id = r.service_environment_id and (d.release_id = r.id or d.rollback_to = r.id)
      order by d.position desc limit 1) as last_status,
    (select jsonb_build_object('counts', jsonb_build_object('critical', s.critical, 'high', s.high, 'medium', s.medium, 'low', s.low,
              'unknown', s.unknown), 'scannedAt', s.scanned_at, 'isPartial', s.gaps <> '[]', 'deploymentId', s.deployment_id)
       from scans s join service_environments se on se.project_id = s.project_id
      where se.id = r.service_environment_id
        and s.subject = (r.artifact->>'digest') || coalesce('+' || (r.artifact->>'runtimeLayer'), '')
      order by s.scanned_at desc limit 1) as scan
  from releases r`

export interface ReleaseRecordFilter {
  /** Continue before this number; null = from the newest. */
  readonly before: number | null
  readonly limit: number
}

/** Newest first. */
export async function listReleaseRecords(
  db: Queryable,
  serviceEnvironmentId: string,
  filter: ReleaseRecordFilter,
): Promise<ReleaseRecord[]> {
  const rows = await db.query<Row>(
    `${SELECT} where r.service_environment_id = $1 and ($2::integer is null or r.number < $2) order by r.number desc limit $3`,
    [serviceEnvironmentId, filter.before, filter.limit],
  )
  return rows.map(toRecord)
}

export async function findReleaseRecord(db: Queryable, serviceEnvironmentId: string, number: number): Promise<ReleaseRecord | null> {
  const [row] = await db.query<Row>(`${SELECT} where r.service_environment_id = $1 and r.number = $2`, [serviceEnvironmentId, number])
  return row === undefined ? null : toRecord(row)
}

/** Releases that a rollback may name: kept, newest first. */
export async function listKeptReleases(db: Queryable, serviceEnvironmentId: string): Promise<ReleaseRecord[]> {
  const rows = await db.query<Row>(`${SELECT} where r.service_environment_id = $1 and r.deleted_at is null order by r.number desc`, [
    serviceEnvironmentId,
  ])
  return rows.map(toRecord)
}

export async function pinRelease(tx: Queryable, releaseId: string, pinned: boolean): Promise<void> {
  await tx.query('update releases set pinned = $2 where id = $1', [releaseId, pinned])
}

function toRecord(row: Row): ReleaseRecord {
  return {
    release: toRelease(row),
    isKept: row.deleted_at === null,
    isLive: row.is_live,
    hasStandby: row.has_standby,
    lastStatus: row.last_status,
    // jsonb writes times with an offset and microseconds.
    scan: row.scan === null ? null : { ...row.scan, scannedAt: new Date(row.scan.scannedAt).toISOString() },
  }
}
