import { nearest } from '../../config/nearest.ts'
import { ShiplockError } from '../../core/errors.ts'
import { EVENT_TYPES } from '../../domain/event.ts'
import { type EventRecord, type EventRecordFilter, listEventRecords } from '../../store/sql/event-view.ts'
import { findLogEnd } from '../../store/sql/log-lines.ts'
import { type Handlers, type RouteContext, STREAMED } from '../route-context.ts'
import type { TopicFilter } from '../topic.ts'
import { viewEvent } from '../views.ts'

export const eventHandlers: Handlers<'listEvents'> = {
  listEvents: async ({ query }, context) => {
    const filter: EventRecordFilter = {
      project: query.project,
      environment: query.environment,
      service: query.service,
      deploymentId: query.deployment,
      types: parseTypes(query.type),
      since: query.since,
    }
    if (context.wantsStream) return streamEvents(filter, query.after ?? null, context)
    const rows = await listEventRecords(context.dependencies.database, filter, query.after ?? 0, query.limit)
    return { items: rows.map(viewEvent), next: rows.length === query.limit ? String(rows.at(-1)?.event.sequence ?? 0) : null }
  },
}

function parseTypes(types: string | undefined): string[] | undefined {
  const list = types
    ?.split(',')
    .map((type) => type.trim())
    .filter((type) => type !== '')
  for (const type of list ?? []) {
    if ((EVENT_TYPES as readonly string[]).includes(type)) continue
    const meant = nearest(type, EVENT_TYPES)
    throw new ShiplockError('INPUT_INVALID', `query.type: no event type ${type}${meant === null ? '' : `, did you mean ${meant}?`}`)
  }
  return list
}

/** Of one deployment: from its first event, and the stream ends when it is settled. Any other goes on until the reader leaves. */
async function streamEvents(filter: EventRecordFilter, after: number | null, context: RouteContext): Promise<typeof STREAMED> {
  const { database } = context.dependencies
  const { deploymentId } = filter
  const isWhole = deploymentId !== undefined || filter.since !== undefined
  const from = context.lastEventId === null ? (after ?? (isWhole ? 0 : null)) : parseEventId(context.lastEventId)
  let isOver = deploymentId !== undefined && ((await findLogEnd(database, deploymentId))?.settled ?? true)
  const topicFilter: TopicFilter<EventRecord> = {
    key: JSON.stringify({ ...filter, types: undefined }),
    includes: (record) => {
      if (deploymentId !== undefined && record.event.deploymentId === deploymentId && record.event.terminal) isOver = true
      return matches(record, filter)
    },
    // Without the types: the terminal event must be seen whether or not it is wanted.
    after: (sequence, limit) => listEventRecords(database, { ...filter, types: undefined }, sequence, limit),
    isOver: () => isOver,
  }
  await context.topics.withEvents(async (topic) => {
    // Where the reader begins is settled before it hears from us: what it does then is in the stream.
    await topic.refresh()
    const start = from ?? topic.head
    const stream = context.openStream()
    await stream.write(`id: ${start}\n\n`)
    for await (const frames of topic.follow(start, topicFilter, stream.signal)) await stream.write(frames)
    stream.end('the deployment is settled', null)
  })
  return STREAMED
}

function matches(record: EventRecord, filter: EventRecordFilter): boolean {
  return (
    (filter.project === undefined || record.project === filter.project) &&
    (filter.environment === undefined || record.environment === filter.environment) &&
    (filter.service === undefined || record.service === filter.service) &&
    (filter.deploymentId === undefined || record.event.deploymentId === filter.deploymentId) &&
    (filter.types === undefined || filter.types.includes(record.event.type)) &&
    (filter.since === undefined || record.event.at >= new Date(filter.since).toISOString())
  )
}

function parseEventId(id: string): number {
  if (!/^\d{1,15}$/.test(id)) throw new ShiplockError('INPUT_INVALID', 'Last-Event-ID: is not an id of this stream')
  return Number(id)
}
