import type { Deployment } from '../../domain/deployment.ts'
import type { Queryable } from '../database.ts'
import { type DeploymentRow, toDeployment } from '../rows.ts'

/** A deployment with the names and numbers that people know it by. */
export interface DeploymentRecord {
  readonly deployment: Deployment
  /** Order in the queue; pages continue before it. */
  readonly position: number
  readonly project: string
  readonly environment: string
  readonly service: string
  readonly host: string
  readonly release: number | null
  readonly stages: readonly StageRecord[]
}

export interface StageRecord {
  readonly stage: string
  readonly outcome: 'done' | 'skipped' | 'failed' | 'canceled' | null
  readonly reason: string | null
  readonly startedAt: string
  readonly finishedAt: string | null
}

type Row = DeploymentRow & {
  position: number
  project: string
  environment: string
  service: string
  host: string
  release: number | null
  stages: StageRecord[] | null
}

/** The last run of each stage, in order of their first start. */
const STAGES = `(select json_agg(json_build_object('stage', r.stage, 'outcome', r.outcome, 'reason', r.reason, 'startedAt', r.started_at,
    'finishedAt', r.finished_at) order by r.first_start, r.started_at)
  from (select distinct on (stage) stage, outcome, reason, started_at, finished_at, min(started_at) over (partition by stage) as first_start
          from stage_runs where deployment_id = d.id order by stage, run desc) r)`

const SELECT = `select d.*, p.name as project, e.name as environment, s.name as service, se.host, ${STAGES} as stages,
    (select number from releases where id = coalesce(d.release_id, d.rollback_to)) as release
  from deployments d
  join projects p on p.id = d.project_id
  join environments e on e.id = d.environment_id
  join services s on s.id = d.service_id
  join service_environments se on se.id = d.service_environment_id`

export async function findDeploymentRecord(db: Queryable, id: string): Promise<DeploymentRecord | null> {
  const [row] = await db.query<Row>(`${SELECT} where d.id = $1`, [id])
  return row === undefined ? null : toRecord(row)
}

export interface DeploymentRecordFilter {
  readonly project?: string | undefined
  readonly environment?: string | undefined
  readonly service?: string | undefined
  readonly status?: string | undefined
  /** Continue before this position; null = from the newest. */
  readonly before: number | null
  readonly limit: number
}

/** Newest first. */
export async function listDeploymentRecords(db: Queryable, filter: DeploymentRecordFilter): Promise<DeploymentRecord[]> {
  const rows = await db.query<Row>(
    `${SELECT}
      where ($1::text is null or p.name = $1) and ($2::text is null or e.name = $2) and ($3::text is null or s.name = $3)
        and ($4::text is null or d.status = $4) and ($5::bigint is null or d.position < $5)
      order by d.position desc limit $6`,
    [filter.project ?? null, filter.environment ?? null, filter.service ?? null, filter.status ?? null, filter.before, filter.limit],
  )
  return rows.map(toRecord)
}

function toRecord(row: Row): DeploymentRecord {
  return {
    deployment: toDeployment(row),
    position: row.position,
    project: row.project,
    environment: row.environment,
    service: row.service,
    host: row.host,
    release: row.release,
    // json_agg writes times with an offset and microseconds.
    stages: (row.stages ?? []).map((run) => ({
      ...run,
      startedAt: new Date(run.startedAt).toISOString(),
      finishedAt: run.finishedAt === null ? null : new Date(run.finishedAt).toISOString(),
    })),
  }
}
