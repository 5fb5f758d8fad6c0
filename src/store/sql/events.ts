import { LIMITS } from '../../core/limits.ts'
import type { Event, NewEvent } from '../../domain/event.ts'
import { CHANNEL, type Notice } from '../channels.ts'
import type { Queryable } from '../database.ts'
import { type EventRow, toEvent } from '../rows.ts'
import { tellOthers } from './outbox.ts'

/** Lock number of the event log; see `appendEvents`. */
const EVENT_LOG_LOCK = 7301

/**
 * Appends events as the last act of a transaction. The advisory lock lasts until commit, so event numbers become visible in
 * number order: a reader that continues after n can't have missed one (I11). Call it last: everything after it is serialised.
 */
export async function appendEvents(tx: Queryable, events: readonly (NewEvent & { readonly terminal?: boolean })[]): Promise<void> {
  if (events.length === 0) return
  await tellOthers(tx, events)
  const notice: Omit<Extract<Notice, { kind: 'events' }>, 'sequence'> = { kind: 'events', deploymentId: events[0]?.deploymentId ?? null }
  const rows = events.map((event, n) => ({
    n,
    type: event.type,
    message: event.message,
    project_id: event.projectId,
    environment_id: event.environmentId,
    service_id: event.serviceId,
    service_environment_id: event.serviceEnvironmentId,
    deployment_id: event.deploymentId,
    instance_id: event.instanceId,
    data: boundedData(event.data),
    terminal: event.terminal ?? false,
  }))
  // One statement, so that the lock is held for no round trip but the commit's. Numbers are drawn from rows that stand behind the lock.
  await tx.query(
    `with locked as materialized (select pg_advisory_xact_lock($2)),
     added as (
       insert into events (sequence, type, message, project_id, environment_id, service_id, service_environment_id, deployment_id, instance_id, data, terminal)
       select nextval('event_numbers'), e.type, e.message, e.project_id, e.environment_id, e.service_id, e.service_environment_id, e.deployment_id,
              e.instance_id, e.data, e.terminal
         from locked, jsonb_to_recordset($1::jsonb) as e(n integer, type text, message text, project_id text, environment_id text, service_id text,
              service_environment_id text, deployment_id text, instance_id text, data jsonb, terminal boolean)
        order by e.n
       returning sequence)
     select pg_notify($3, ($4::jsonb || jsonb_build_object('sequence', max(sequence)))::text) from added`,
    [JSON.stringify(rows), EVENT_LOG_LOCK, CHANNEL, JSON.stringify(notice)],
    { name: 'append-events' },
  )
}

/** Facts beyond the bound (a log tail of very long lines) are left out and said to be; the event itself is never lost (I12). */
export function boundedData(data: NewEvent['data']): NewEvent['data'] {
  const bytes = Buffer.byteLength(JSON.stringify(data))
  return bytes <= LIMITS.eventDataBytes ? data : { leftOut: Object.keys(data), bytes }
}

export interface EventFilter {
  readonly after: number
  readonly limit: number
  readonly projectId?: string | undefined
  readonly serviceEnvironmentId?: string | undefined
  readonly deploymentId?: string | undefined
  readonly types?: readonly string[] | undefined
  readonly since?: string | undefined
}

/** Events after a number, oldest first. */
export async function listEvents(db: Queryable, filter: EventFilter): Promise<Event[]> {
  const rows = await db.query<EventRow>(
    `select * from events
      where sequence > $1
        and ($3::text is null or project_id = $3)
        and ($4::text is null or service_environment_id = $4)
        and ($5::text is null or deployment_id = $5)
        and ($6::text[] is null or type = any($6))
        and ($7::timestamptz is null or at >= $7)
      order by sequence limit $2`,
    [
      filter.after,
      filter.limit,
      filter.projectId ?? null,
      filter.serviceEnvironmentId ?? null,
      filter.deploymentId ?? null,
      filter.types ?? null,
      filter.since ?? null,
    ],
  )
  return rows.map(toEvent)
}

export async function lastEventSequence(db: Queryable): Promise<number> {
  const [row] = await db.query<{ sequence: number }>('select coalesce(max(sequence), 0) as sequence from events')
  return row?.sequence ?? 0
}
