import type { Event } from '../../domain/event.ts'
import type { Queryable } from '../database.ts'
import { type EventRow, toEvent } from '../rows.ts'

/** An event with the names of what it is about. */
export interface EventRecord {
  readonly event: Event
  readonly project: string | null
  readonly environment: string | null
  readonly service: string | null
}

export interface EventRecordFilter {
  readonly project?: string | undefined
  readonly environment?: string | undefined
  readonly service?: string | undefined
  readonly deploymentId?: string | undefined
  readonly types?: readonly string[] | undefined
  readonly since?: string | undefined
}

type Row = EventRow & { project: string | null; environment: string | null; service: string | null }

/** Events after a number, oldest first. Number order is commit order (see `appendEvents`). */
export async function listEventRecords(db: Queryable, filter: EventRecordFilter, after: number, limit: number): Promise<EventRecord[]> {
  const rows = await db.query<Row>(
    `select ev.*, p.name as project, e.name as environment, s.name as service
       from events ev
       left join projects p on p.id = ev.project_id
       left join environments e on e.id = ev.environment_id
       left join services s on s.id = ev.service_id
      where ev.sequence > $1
        and ($3::text is null or p.name = $3) and ($4::text is null or e.name = $4) and ($5::text is null or s.name = $5)
        and ($6::text is null or ev.deployment_id = $6) and ($7::text[] is null or ev.type = any($7))
        and ($8::timestamptz is null or ev.at >= $8)
      order by ev.sequence limit $2`,
    [
      after,
      limit,
      filter.project ?? null,
      filter.environment ?? null,
      filter.service ?? null,
      filter.deploymentId ?? null,
      filter.types ?? null,
      filter.since ?? null,
    ],
  )
  return rows.map((row) => ({ event: toEvent(row), project: row.project, environment: row.environment, service: row.service }))
}
