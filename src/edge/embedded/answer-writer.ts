import type { IncomingMessage, ServerResponse } from 'node:http'
import type { EdgeContext } from './edge-context.ts'
import { earlyHints, GENERATION_HEADER, isEventStream, type RawHeaders, responseHeaders, safeTrailers, without } from './headers.ts'
import type { ResponseHead } from './response-parser.ts'
import { EventBoundary } from './sse-boundary.ts'

const ONE_WRITE_BYTES = 16 * 1024

/** What of an answer is passed on, and how: its head, its body with back-pressure, events up to a boundary, trailers. */
export class AnswerWriter {
  readonly #context: EdgeContext
  readonly #request: IncomingMessage
  readonly #response: ServerResponse
  /** Whoever brings the body, for as long as it goes on. */
  readonly #source: () => { pause(): void; resume(): void } | null
  #isContinued = false
  #hasBodyBytes = false
  #held: Buffer | null = null
  #isDrainWatched = false
  #events: EventBoundary | null = null
  isHeadSent = false
  status = 0

  constructor(
    context: EdgeContext,
    request: IncomingMessage,
    response: ServerResponse,
    source: () => { pause(): void; resume(): void } | null,
  ) {
    this.#context = context
    this.#request = request
    this.#response = response
    this.#source = source
  }

  information(status: number, headers: RawHeaders): void {
    if (this.isHeadSent || this.#request.httpVersionMinor === 0) return
    if (status === 100) {
      if (this.#request.headers.expect === undefined || this.#isContinued) return
      this.#isContinued = true
      this.#response.writeContinue()
    } else if (status === 103) this.#hint(earlyHints(headers))
    else if (status === 102) this.#response.writeProcessing()
  }

  /** Not by `writeEarlyHints`, which takes one link of the simplest form. A pipelined request that waits for its turn does without. */
  #hint(head: string): void {
    if (head !== '') this.#response.socket?.write(head, 'latin1')
  }

  /** `generation`: said to a probe; null = to nobody. */
  head(head: ResponseHead, generation: number | null): void {
    this.isHeadSent = true
    this.status = head.status
    const isStreamed = head.framing === 'chunked' || head.framing === 'close'
    const keepsTrailer = head.framing === 'chunked' && this.#request.httpVersionMinor === 1
    let headers = responseHeaders(head.rawHeaders, head.connection, keepsTrailer, this.#context.cookieBase)
    if (head.status === 204) headers = without(headers, 'content-length')
    if (generation !== null) headers.push(GENERATION_HEADER, String(generation))
    // A client that was never told to go on may send its body or not: after this answer nobody could tell what its next bytes are.
    const isBodyUncertain = this.#request.headers.expect !== undefined && !this.#isContinued
    if (this.#context.isRetiring || isBodyUncertain) headers.push('connection', 'close')
    const response = this.#response
    // A Date of its own would stand beside the instance's.
    response.sendDate = !head.rawHeaders.some((name, index) => index % 2 === 0 && name.length === 4 && name.toLowerCase() === 'date')
    if (isStreamed && isEventStream(head.rawHeaders)) this.#events = new EventBoundary()
    if (isStreamed && headers.some((name, index) => index % 2 === 0 && name.toLowerCase() === 'trailer')) {
      headers.push('transfer-encoding', 'chunked')
    }
    response.writeHead(head.status, head.reason, headers)
  }

  data(chunk: Buffer): void {
    const isFirst = !this.#hasBodyBytes
    this.#hasBodyBytes = true
    this.#events?.push(chunk)
    // Head and a small body go out in one write if this turns out to be all of it; `paused` follows when it is not.
    if (isFirst && chunk.length <= ONE_WRITE_BYTES) this.#held = chunk
    else {
      this.#writeHeld()
      this.#write(chunk)
    }
  }

  /** The client gets what there is now: the first bytes of the body, or the head alone. */
  paused(): void {
    if (!this.isHeadSent) return
    if (this.#held !== null) this.#writeHeld()
    else if (!this.#hasBodyBytes) this.#response.flushHeaders()
  }

  end(trailers: RawHeaders): void {
    // Only a chunked answer has room for them; node:http drops them silently otherwise.
    const kept = safeTrailers(trailers)
    if (kept.length > 0) this.#response.addTrailers(kept as unknown as Record<string, string>)
    // node:http joins its head with a string, not with a buffer.
    if (this.#held === null) this.#response.end()
    else this.#response.end(this.#held.toString('latin1'), 'latin1')
  }

  /** A stream of events, and where it stands; null for every other answer. */
  get events(): EventBoundary | null {
    return this.#events
  }

  /** Passes on what still belongs to the event that is under way. True when the stream has come to its boundary. */
  dataUntilBoundary(events: EventBoundary, chunk: Buffer): boolean {
    this.#writeHeld()
    const length = events.pushUntilBoundary(chunk)
    this.#response.write(length === -1 ? chunk : chunk.subarray(0, length))
    return length !== -1
  }

  #writeHeld(): void {
    const held = this.#held
    this.#held = null
    if (held !== null) this.#write(held)
  }

  #write(chunk: Buffer): void {
    if (!this.#response.write(chunk)) this.#waitForClient()
  }

  #waitForClient(): void {
    this.#source()?.pause()
    if (this.#isDrainWatched) return
    this.#isDrainWatched = true
    this.#response.on('drain', () => this.#source()?.resume())
  }
}
