import type { ServerResponse } from 'node:http'
import { ShiplockError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Logger } from '../core/log.ts'
import type { Database } from '../store/database.ts'
import { listValidTokens, type TokenRecord } from '../store/sql/tokens.ts'
import { SseConnection } from './sse.ts'

export interface StreamLimits {
  readonly total: number
  readonly perToken: number
}
const STREAM_LIMITS: StreamLimits = { total: LIMITS.sseConnections, perToken: LIMITS.sseConnectionsPerToken }

/**
 * The streams of this server. A request is asked for its token once; a stream goes on for hours, so its token is looked at again: whoever
 * may less than when it began is cut off within `LIMITS.streamAccessMs`.
 */
export class OpenStreams {
  readonly #database: Database
  readonly #logger: Logger
  readonly #limits: StreamLimits
  /** Oldest first. */
  readonly #streams = new Map<SseConnection, TokenRecord | null>()
  readonly #countOf = new Map<string, number>()
  #timer: NodeJS.Timeout | null = null

  constructor(database: Database, logger: Logger, limits: StreamLimits = STREAM_LIMITS) {
    this.#database = database
    this.#logger = logger
    this.#limits = limits
  }

  /** Throws RATE_LIMITED when the token has too many. Of all of them the project with the most gives up its oldest: its reader comes back. */
  open(outgoing: ServerResponse, token: TokenRecord | null): SseConnection {
    const holder = token?.id ?? ''
    const count = this.#countOf.get(holder) ?? 0
    if (count >= this.#limits.perToken) throw tooMany()
    const project = token?.project ?? ''
    if (this.#streams.size >= this.#limits.total && !this.#makeRoomFor(project)) throw tooMany()
    const stream = new SseConnection(outgoing)
    this.#streams.set(stream, token)
    this.#countOf.set(holder, count + 1)
    const closed = () => this.#closed(stream, holder)
    if (stream.signal.aborted) closed()
    else stream.signal.addEventListener('abort', closed, { once: true })
    if (this.#streams.size > 0) this.#timer ??= setInterval(() => void this.#lookAgain(), LIMITS.streamAccessMs).unref()
    return stream
  }

  /** False when no other project has more than this one would have. */
  #makeRoomFor(project: string): boolean {
    const oldestOf = new Map<string, { count: number; oldest: SseConnection }>()
    let most: { count: number; oldest: SseConnection } | null = null
    for (const [stream, token] of this.#streams) {
      const held = oldestOf.get(token?.project ?? '') ?? { count: 0, oldest: stream }
      held.count += 1
      oldestOf.set(token?.project ?? '', held)
      if (most === null || held.count > most.count) most = held
    }
    if (most === null || most.count <= (oldestOf.get(project)?.count ?? 0) + 1) return false
    most.oldest.cut()
    return true
  }

  #closed(stream: SseConnection, holder: string): void {
    this.#streams.delete(stream)
    const left = (this.#countOf.get(holder) ?? 1) - 1
    if (left > 0) this.#countOf.set(holder, left)
    else this.#countOf.delete(holder)
    if (this.#streams.size > 0 || this.#timer === null) return
    clearInterval(this.#timer)
    this.#timer = null
  }

  async #lookAgain(): Promise<void> {
    const ids = new Set([...this.#streams.values()].flatMap((token) => (token === null ? [] : [token.id])))
    if (ids.size === 0) return
    try {
      const valid = new Map((await listValidTokens(this.#database, [...ids])).map((token) => [token.id, rightsOf(token)]))
      for (const [stream, token] of [...this.#streams]) {
        if (token !== null && ids.has(token.id) && valid.get(token.id) !== rightsOf(token))
          stream.end('the token is no longer what it was', null)
      }
    } catch (error) {
      // A database that is away says nothing about a token; the next look will.
      this.#logger.debug('tokens of streams could not be looked at', { error })
    }
  }
}

const tooMany = () => new ShiplockError('RATE_LIMITED', 'too many streams are open already')

const rightsOf = ({ role, verbs, project, environment }: TokenRecord) => JSON.stringify([role, verbs, project, environment])
