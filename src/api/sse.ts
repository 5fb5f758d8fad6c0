import type { ServerResponse } from 'node:http'
import { LIMITS } from '../core/limits.ts'
import { printable } from '../core/printable.ts'

/** One frame. JSON has no line breaks of its own, so `data` is one line. */
export function sseFrame(event: string, data: unknown, id?: string | number): string {
  return `${id === undefined ? '' : `id: ${id}\n`}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`
}

/**
 * A stream of server-sent events on a response. Whoever does not read for `LIMITS.sseStallMs` is cut, and continues with Last-Event-ID:
 * what waits for a reader is never more than one write and the socket's buffer (I12).
 */
export class SseConnection {
  readonly #response: ServerResponse
  readonly #closed = new AbortController()
  readonly #heartbeat: NodeJS.Timeout

  constructor(response: ServerResponse) {
    this.#response = response
    response.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache, no-store, no-transform',
      'x-accel-buffering': 'no',
    })
    response.write(`retry: ${RETRY_MS}\n\n`)
    this.#heartbeat = setInterval(() => {
      if (!response.writableNeedDrain) response.write(': alive\n\n')
    }, LIMITS.sseHeartbeatMs)
    response.on('close', () => this.#end())
    response.on('error', () => this.#end())
    // The reader may have gone while its request was looked at.
    if (response.destroyed || response.closed) this.#end()
  }

  /** Aborts once the reader is gone. */
  get signal(): AbortSignal {
    return this.#closed.signal
  }

  /** Resolves when the reader can take more. */
  async write(frames: string | Uint8Array): Promise<void> {
    if (this.signal.aborted || this.#response.write(frames)) return
    await new Promise<void>((resolve) => {
      const done = () => {
        clearTimeout(stall)
        this.#response.off('drain', done)
        this.signal.removeEventListener('abort', done)
        resolve()
      }
      const stall = setTimeout(() => this.cut(), LIMITS.sseStallMs)
      this.#response.on('drain', done)
      this.signal.addEventListener('abort', done, { once: true })
    })
  }

  /** Says why the stream ends, and ends it. The reader need not come back. */
  end(reason: string, status: string | null): void {
    if (!this.signal.aborted) this.#response.end(sseFrame('end', { reason: printable(reason), status }))
    this.#end()
  }

  /** Ends it without a word: the reader comes back with Last-Event-ID. */
  cut(): void {
    this.#response.destroy()
    this.#end()
  }

  #end(): void {
    clearInterval(this.#heartbeat)
    this.#closed.abort()
  }
}
const RETRY_MS = 1000
