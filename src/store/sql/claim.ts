import type { Concern } from '../../domain/access.ts'
import type { DeploymentId } from '../../domain/ids.ts'
import type { Queryable } from '../database.ts'
import type { DeploymentRow } from '../rows.ts'

/**
 * Claims are serialised, so that first come is first served; the unique indexes of `deployments` are what makes the cap true (I4).
 * A row that is just being canceled is waited for, not skipped: what comes after it must not overtake it if that cancel is taken back.
 */
export const CLAIM_LOCK = 7302

export interface ClaimOptions {
  /** MAX_CONCURRENT_BUILDS of this server. */
  readonly slots: number
  /** BUILD_TIMEOUT. */
  readonly timeoutMs: number
}

/**
 * Moves the oldest pending deployment whose service and environment are idle into a free slot, unless its project has as many in progress
 * as its plan allows. Null when there is no work or no slot.
 * A rollback begins at launch, everything else at fetch.
 */
export async function claimDeployment(tx: Queryable, options: ClaimOptions): Promise<DeploymentRow | null> {
  // Two statements, so that the second sees what was committed while the first waited; sent together.
  const locked = tx.query('select pg_advisory_xact_lock($1)', [CLAIM_LOCK], { name: 'claim-lock' })
  const claimed = tx.query<DeploymentRow>(
    `with busy as materialized (select service_environment_id, project_id, slot from deployments where slot is not null),
          sated as materialized (select p.id from busy b join projects p on p.id = b.project_id
                    group by p.id having count(*) >= (p.limits->>'concurrentBuilds')::int),
          free as (select min(n) as slot from generate_series(1, $1::int) n where n not in (select slot from busy)),
          next as (select id from deployments
                    where status = 'pending' and (select slot from free) is not null
                      and service_environment_id <> all (array(select service_environment_id from busy))
                      and project_id <> all (array(select id from sated))
                    order by position limit 1 for update)
     update deployments d
        set slot = free.slot, started_at = now(), deadline_at = now() + make_interval(secs => $2),
            status = case d.kind when 'rollback' then 'deploying' else 'cloning' end,
            stage = case d.kind when 'rollback' then 'launch' else 'fetch' end,
            status_reason = ''
       from next, free
      where d.id = next.id
     returning d.*`,
    [options.slots, options.timeoutMs / 1000],
  )
  const [, rows] = await Promise.all([locked, claimed])
  return rows[0] ?? null
}

export interface QueueEntry {
  readonly id: DeploymentId
  readonly status: string
  readonly stage: string | null
  readonly project: string
  readonly environment: string
  readonly service: string
  readonly createdAt: string
  readonly startedAt: string | null
  /** 1 = next; null once in progress. */
  readonly place: number | null
  /** One sentence: what it waits for, or what it does. */
  readonly waitsFor: string
}

/**
 * Everything that is not settled and not yet live, with the reason why it waits. `visible` bounds what is listed, not what is counted:
 * places are those among all.
 */
export async function listQueue(
  db: Queryable,
  slots: number,
  visible: Concern = { project: null, environment: null },
): Promise<QueueEntry[]> {
  const rows = await db.query<{
    id: DeploymentId
    status: string
    stage: string | null
    project: string
    environment: string
    service: string
    created_at: string
    started_at: string | null
    place: number | null
    blocked_by: string | null
    ahead_in_lane: number
    in_progress: number
    held: string | null
  }>(
    `select * from (select d.position, d.id, d.status, d.stage, p.name as project, e.name as environment, s.name as service, d.created_at, d.started_at,
            case when d.status = 'pending' then row_number() over (partition by d.status = 'pending' order by d.position) end as place,
            (select b.id from deployments b where b.service_environment_id = d.service_environment_id and b.slot is not null and b.id <> d.id) as blocked_by,
            (select count(*) from deployments b where b.service_environment_id = d.service_environment_id and b.status = 'pending' and b.position < d.position) as ahead_in_lane,
            (select count(*) from deployments b where b.slot is not null) as in_progress,
            se.hold->>'reason' as held
       from deployments d
       join projects p on p.id = d.project_id
       join environments e on e.id = d.environment_id
       join services s on s.id = d.service_id
       join service_environments se on se.id = d.service_environment_id
      where not d.settled and d.status in ('pending', 'cloning', 'building', 'deploying')) q
      where ($1::text is null or q.project = $1) and ($2::text is null or q.environment = $2)
      order by q.status = 'pending', q.position`,
    [visible.project, visible.environment],
  )
  return rows.map((row) => ({
    id: row.id,
    status: row.status,
    stage: row.stage,
    project: row.project,
    environment: row.environment,
    service: row.service,
    createdAt: row.created_at,
    startedAt: row.started_at,
    place: row.place,
    waitsFor: reasonOf(row, slots),
  }))
}

function reasonOf(
  row: { status: string; stage: string | null; blocked_by: string | null; ahead_in_lane: number; in_progress: number },
  slots: number,
): string {
  if (row.status !== 'pending') return `in progress: ${row.stage ?? row.status}`
  if (row.blocked_by !== null) return `waits for ${row.blocked_by} of the same service and environment`
  if (row.ahead_in_lane > 0) return `waits for ${row.ahead_in_lane} earlier deployment(s) of the same service and environment`
  if (row.in_progress >= slots) return `waits for a free slot: ${row.in_progress} of ${slots} in progress`
  return 'about to start'
}
