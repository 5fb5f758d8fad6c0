import pg from 'pg'
import { systemClock } from '../core/clock.ts'
import { LIMITS } from '../core/limits.ts'
import type { Logger } from '../core/log.ts'
import { classify } from './postgres-error.ts'

type OnPayload = (payload: string | null) => void

const CHANNEL = /^[a-z_][a-z0-9_]{0,62}$/

/** One connection for all channels; made again for as long as anyone listens. */
export class PostgresListener {
  readonly #config: pg.ClientConfig
  readonly #logger: Logger
  readonly #heartbeatMs: number
  readonly #channels = new Map<string, Set<OnPayload>>()
  readonly #closing = new AbortController()
  #client: pg.Client | null = null
  #connecting: Promise<pg.Client> | null = null
  #heartbeat: NodeJS.Timeout | undefined
  #reconnecting: Promise<void> | null = null

  constructor(config: pg.ClientConfig, logger: Logger, heartbeatMs: number = LIMITS.databaseHeartbeatMs) {
    this.#config = config
    this.#heartbeatMs = heartbeatMs
    this.#logger = logger
  }

  async listen(channel: string, onPayload: OnPayload): Promise<() => Promise<void>> {
    if (!CHANNEL.test(channel)) throw new TypeError(`not a channel name: ${channel}`)
    const listeners = this.#channels.get(channel) ?? new Set<OnPayload>()
    const entry: OnPayload = (payload) => onPayload(payload)
    listeners.add(entry)
    this.#channels.set(channel, listeners)
    try {
      const client = await (this.#reconnecting === null ? this.#connect() : this.#reconnecting.then(() => this.#connect()))
      await client.query(`LISTEN ${channel}`)
    } catch (error) {
      listeners.delete(entry)
      throw classify(error, 'connect')
    }
    return async () => {
      if (!listeners.delete(entry) || listeners.size > 0) return
      this.#channels.delete(channel)
      // A connection that is just being lost listens to nothing anyway.
      await this.#client?.query(`UNLISTEN ${channel}`).catch(() => {})
    }
  }

  async close(): Promise<void> {
    if (!this.#closing.signal.aborted) this.#closing.abort(new Error('the database was closed'))
    this.#channels.clear()
    await this.#reconnecting
    await this.#connecting?.catch(() => {})
    clearInterval(this.#heartbeat)
    const client = this.#client
    this.#client = null
    await client?.end().catch(() => {})
  }

  #connect(): Promise<pg.Client> {
    this.#closing.signal.throwIfAborted()
    if (this.#client !== null) return Promise.resolve(this.#client)
    this.#connecting ??= this.#open().finally(() => {
      this.#connecting = null
    })
    return this.#connecting
  }

  async #open(): Promise<pg.Client> {
    const client = new pg.Client({ ...this.#config, application_name: 'shiplock-listen', query_timeout: this.#heartbeatMs })
    client.on('error', (error) => this.#lost(client, error))
    client.on('end', () => this.#lost(client, new Error('connection ended')))
    client.on('notification', ({ channel, payload }) => {
      for (const onPayload of this.#channels.get(channel) ?? []) this.#deliver(onPayload, payload ?? '')
    })
    try {
      await client.connect()
      for (const channel of this.#channels.keys()) await client.query(`LISTEN ${channel}`)
    } catch (error) {
      client.end().catch(() => {})
      throw error
    }
    this.#client = client
    clearInterval(this.#heartbeat)
    // A peer that vanished without a word (power cut, dropped route) is only noticed by asking.
    this.#heartbeat = setInterval(() => {
      client.query('SELECT 1').catch((error: Error) => this.#lost(client, error))
    }, this.#heartbeatMs)
    this.#heartbeat.unref()
    return client
  }

  #lost(client: pg.Client, error: Error): void {
    if (this.#client !== client) return
    this.#client = null
    clearInterval(this.#heartbeat)
    client.end().catch(() => {})
    if (this.#closing.signal.aborted) return
    this.#logger.warn('the notification connection was lost', { error })
    this.#reconnecting ??= this.#reconnect().finally(() => {
      this.#reconnecting = null
    })
  }

  async #reconnect(): Promise<void> {
    const { signal } = this.#closing
    for (let pauseMs = 20; !signal.aborted; pauseMs = Math.min(pauseMs * 2, LIMITS.databaseRetryPauseMs)) {
      try {
        await this.#connect()
        break
      } catch (error) {
        this.#logger.debug('the notification connection is still away', { error })
        await systemClock.sleep(pauseMs, signal).catch(() => {})
      }
    }
    if (signal.aborted) return
    this.#logger.info('the notification connection is back')
    for (const listeners of this.#channels.values()) for (const onPayload of listeners) this.#deliver(onPayload, null)
  }

  /** A listener's mistake is its own: the others still hear. */
  #deliver(onPayload: OnPayload, payload: string | null): void {
    try {
      onPayload(payload)
    } catch (error) {
      this.#logger.error('a notification listener threw', { error })
    }
  }
}
