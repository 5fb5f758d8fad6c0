import { LIMITS } from '../core/limits.ts'
import type { Logger } from '../core/log.ts'
import type { Notice } from '../store/channels.ts'
import type { Database } from '../store/database.ts'
import { type EventRecord, listEventRecords } from '../store/sql/event-view.ts'
import { lastEventSequence } from '../store/sql/events.ts'
import { findLogEnd, listLogLines, type StoredLine } from '../store/sql/log-lines.ts'
import type { NoticeSource } from './dependencies.ts'
import { sseFrame } from './sse.ts'
import { Topic, type TopicSource } from './topic.ts'
import { viewEvent } from './views.ts'

interface OpenTopic<Item> {
  readonly topic: Topic<Item>
  readonly opened: Promise<void>
  readonly close: () => void
  readers: number
}

/** The logs that somebody reads at this moment: one database reader each, however many readers there are. */
export class Topics {
  readonly #database: Database
  readonly #notices: NoticeSource
  readonly #logger: Logger
  readonly #logs = new Map<string, OpenTopic<StoredLine>>()
  #events: OpenTopic<EventRecord> | null = null

  constructor(database: Database, notices: NoticeSource, logger: Logger) {
    this.#database = database
    this.#notices = notices
    this.#logger = logger
  }

  /** Gives the topic of a deployment's log to `read`; it closes after its last reader. */
  async withLog<T>(deploymentId: string, read: (topic: Topic<StoredLine>) => Promise<T>): Promise<T> {
    let open = this.#logs.get(deploymentId)
    if (open === undefined) {
      const concerns = (notice: Notice | null) =>
        notice === null || ((notice.kind === 'log' || notice.kind === 'events') && notice.deploymentId === deploymentId)
      open = this.#open(logSource(this.#database, deploymentId), concerns, () => this.#logs.delete(deploymentId))
      this.#logs.set(deploymentId, open)
    }
    return withReader(open, read)
  }

  async withEvents<T>(read: (topic: Topic<EventRecord>) => Promise<T>): Promise<T> {
    this.#events ??= this.#open(
      eventSource(this.#database),
      (notice) => notice === null || notice.kind === 'events',
      () => {
        this.#events = null
      },
    )
    return withReader(this.#events, read)
  }

  #open<Item>(source: TopicSource<Item>, concerns: (notice: Notice | null) => boolean, onClose: () => void): OpenTopic<Item> {
    const topic = new Topic(source, this.#logger)
    // Subscribed before the first read: what is committed in between is announced.
    const unsubscribe = this.#notices.subscribe((notice) => {
      if (concerns(notice)) void topic.refresh()
    })
    const poll = setInterval(() => void topic.refresh(), LIMITS.streamPollMs)
    const close = () => {
      clearInterval(poll)
      unsubscribe()
      onClose()
    }
    return { topic, opened: topic.open(), close, readers: 0 }
  }
}

async function withReader<Item, T>(open: OpenTopic<Item>, read: (topic: Topic<Item>) => Promise<T>): Promise<T> {
  open.readers += 1
  try {
    await open.opened
    return await read(open.topic)
  } finally {
    open.readers -= 1
    if (open.readers === 0) open.close()
  }
}

function logSource(database: Database, deploymentId: string): TopicSource<StoredLine> {
  return {
    last: async () => (await findLogEnd(database, deploymentId))?.last ?? 0,
    after: (sequence, limit) => listLogLines(database, deploymentId, sequence, limit),
    isComplete: async () => (await findLogEnd(database, deploymentId))?.settled ?? true,
    sequenceOf: (line) => line.sequence,
    encode: (line) => sseFrame('line', line, line.sequence),
  }
}

function eventSource(database: Database): TopicSource<EventRecord> {
  return {
    last: () => lastEventSequence(database),
    after: (sequence, limit) => listEventRecords(database, {}, sequence, limit),
    isComplete: () => Promise.resolve(false),
    sequenceOf: (record) => record.event.sequence,
    encode: (record) => sseFrame('event', viewEvent(record), record.event.sequence),
  }
}
