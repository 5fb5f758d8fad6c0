import type { Concern } from '../../domain/access.ts'
import type { DeploymentKind, DeploymentOptions, Trigger } from '../../domain/deployment.ts'
import type { DeploymentId, EnvironmentId, ProjectId } from '../../domain/ids.ts'
import { isAutomatic } from '../../domain/queue-rules.ts'
import { type Wait, waitOf } from '../../domain/waiting.ts'
import type { Queryable } from '../database.ts'
import { type Freeze, listFreezes } from './freezes.ts'

export interface QueueEntry {
  readonly id: DeploymentId
  readonly kind: DeploymentKind
  readonly status: string
  readonly stage: string | null
  readonly project: string
  readonly environment: string
  readonly service: string
  readonly createdAt: string
  readonly startedAt: string | null
  /** 1 = next; null once in progress. */
  readonly place: number | null
  /** Null once in progress. */
  readonly wait: Wait | null
}

interface Row {
  readonly id: DeploymentId
  readonly kind: DeploymentKind
  readonly status: string
  readonly stage: string | null
  readonly trigger: Trigger
  readonly options: DeploymentOptions
  readonly project_id: ProjectId
  readonly environment_id: EnvironmentId
  readonly project: string
  readonly environment: string
  readonly service: string
  readonly hold: { readonly reason: string; readonly since: string } | null
  readonly project_limit: number | null
  readonly created_at: string
  readonly started_at: string | null
  readonly place: number | null
  readonly ahead: number
  readonly current_id: DeploymentId | null
  readonly current_since: string | null
  readonly in_progress: number
  readonly in_project: number
}

/**
 * Everything that is not settled and not yet live: first what is in progress, then what waits, in order, with the reason.
 * `visible` bounds what is listed, not what is counted: places are those among all.
 */
export async function listQueue(
  db: Queryable,
  slots: number,
  visible: Concern = { project: null, environment: null },
): Promise<QueueEntry[]> {
  const rows = await db.query<Row>(
    `with busy as materialized (select id, service_environment_id, project_id, started_at from deployments where slot is not null),
          turns as (select id, position, (select count(*) from busy where busy.project_id = d.project_id)
                             + row_number() over (partition by project_id order by position) as turn,
                             row_number() over (partition by service_environment_id order by position) - 1 as ahead
                        from deployments d where status = 'pending'),
          waiting as (select id, ahead, row_number() over (order by turn, position) as place from turns)
     select d.id, d.kind, d.status, d.stage, d.trigger, d.options, d.project_id, d.environment_id, p.name as project, e.name as environment,
            s.name as service, se.hold, (p.limits->>'concurrentBuilds')::int as project_limit, d.created_at, d.started_at,
            w.place, coalesce(w.ahead, 0) as ahead, b.id as current_id, b.started_at as current_since,
            (select count(*) from busy) as in_progress, (select count(*) from busy where busy.project_id = d.project_id) as in_project
       from deployments d
       join projects p on p.id = d.project_id
       join environments e on e.id = d.environment_id
       join services s on s.id = d.service_id
       join service_environments se on se.id = d.service_environment_id
       left join waiting w on w.id = d.id
       left join busy b on b.service_environment_id = d.service_environment_id and b.id <> d.id
      where not d.settled and d.status in ('pending', 'cloning', 'building', 'deploying')
        and ($1::text is null or p.name = $1) and ($2::text is null or e.name = $2)
      order by d.status = 'pending', w.place, d.position`,
    [visible.project, visible.environment],
  )
  const freezes = rows.some((row) => row.status === 'pending') ? await listFreezes(db, visible.project) : []
  return rows.map((row) => ({
    id: row.id,
    kind: row.kind,
    status: row.status,
    stage: row.stage,
    project: row.project,
    environment: row.environment,
    service: row.service,
    createdAt: row.created_at,
    startedAt: row.started_at,
    place: row.place,
    wait: row.status === 'pending' ? toWait(row, slots, freezes) : null,
  }))
}

function toWait(row: Row, slots: number, freezes: readonly Freeze[]): Wait {
  const isFreezable = row.kind === 'deploy' && (row.options.overrideFreeze ?? null) === null
  const own = freezes.filter(
    (freeze) => freeze.projectId === row.project_id && (freeze.environmentId === null || freeze.environmentId === row.environment_id),
  )
  // Of several the one that lasts longest.
  const [freeze] = own.sort((a, b) => endOf(b) - endOf(a))
  return waitOf({
    place: `-s ${row.service} -e ${row.environment} -p ${row.project}`,
    environment: row.environment,
    createdAt: row.created_at,
    freeze: !isFreezable || freeze === undefined ? null : { ...freeze, isWholeProject: freeze.environmentId === null },
    hold: isAutomatic(row.trigger) ? row.hold : null,
    current: row.current_id === null || row.current_since === null ? null : { id: row.current_id, startedAt: row.current_since },
    ahead: row.ahead,
    project: { inProgress: row.in_project, limit: row.project_limit },
    server: { inProgress: row.in_progress, slots },
  })
}

function endOf({ until }: Freeze): number {
  return until === null ? Number.POSITIVE_INFINITY : Date.parse(until)
}
