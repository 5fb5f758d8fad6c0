import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { LIMITS } from '../../core/limits.ts'
import { Approach, type Traveller } from './approach.ts'
import { type EdgeContext, isProbe, outerScheme } from './edge-context.ts'
import { type EdgeErrorCode, errorPage } from './error-page.ts'
import {
  type BodyFraming,
  earlyHints,
  forwardedHeaderLines,
  GENERATION_HEADER,
  isEventStream,
  PROBE_HEADER,
  type RawHeaders,
  requestHead,
  responseHeaders,
  safeTrailers,
  without,
} from './headers.ts'
import type { LiveRoute, Parked } from './live-route.ts'
import type { LiveTarget } from './live-target.ts'
import { RequestBody } from './request-body.ts'
import type { RequestTarget } from './request-target.ts'
import { type ResponseHead, ResponseSyntaxError } from './response-parser.ts'
import { EventBoundary } from './sse-boundary.ts'
import type { ExchangeSink, UpstreamConnection } from './upstream-connection.ts'

const ONE_WRITE_BYTES = 16 * 1024

/**
 * One request and its answer. Claims a target, sends, streams back. It may try another target only while not one byte was sent, or,
 * for GET and HEAD without a body, while not one byte of the answer has come (DESIGN.md §9.4).
 */
export class Exchange implements ExchangeSink, Traveller, Parked {
  readonly #context: EdgeContext
  readonly #request: IncomingMessage
  readonly #response: ServerResponse
  readonly #target: RequestTarget
  readonly #body: RequestBody
  readonly #isProbe: boolean
  readonly #startedAt = performance.now()
  readonly #tried: LiveTarget[] = []
  #route: LiveRoute | null = null
  #claim: LiveTarget | null = null
  #generation = 0
  #approach: Approach | null = null
  #connection: UpstreamConnection | null = null
  #attempts = 0
  /** What to say when no target is left. */
  #lastFailure: 'instance-unreachable' | 'instance-failed' = 'instance-unreachable'
  #isOver = false
  #isHeadSent = false
  #isCounted = false
  #isContinued = false
  #hasBodyBytes = false
  #held: Buffer | null = null
  #status = 0
  #events: EventBoundary | null = null
  #cutTimer: NodeJS.Timeout | null = null
  #isDrainWatched = false
  deadline = Number.POSITIVE_INFINITY

  constructor(context: EdgeContext, request: IncomingMessage, response: ServerResponse, target: RequestTarget, framing: BodyFraming) {
    this.#context = context
    this.#request = request
    this.#response = response
    this.#target = target
    this.#body = new RequestBody(request, framing)
    this.#isProbe = isProbe(context, request.headers[PROBE_HEADER])
    response.on('close', () => this.#clientClosed())
    // A pipelined request has no socket until those before it are answered, and its response no `close`.
    if (response.socket === null) request.on('aborted', () => this.#clientClosed())
  }

  start() {
    const route = this.findRoute()
    if (route === null) return this.#refuse('unknown-host')
    this.#route = route
    if (route.record.held) return this.#park(route)
    this.#count(route)
    this.#attempt(route)
  }

  // ── hold
  #park(route: LiveRoute) {
    const { board } = this.#context
    if (route.isHoldOver || board.parked >= board.parkedMax) return this.refuse()
    route.park(this)
  }

  proceed(): void {
    if (!this.#isOver) this.start()
  }

  refuse(): void {
    if (this.#isOver || this.#route === null) return
    this.#count(this.#route)
    this.#failWith('held')
  }

  // ── claim and send
  #count(route: LiveRoute): void {
    if (this.#isProbe || this.#isCounted) return
    this.#isCounted = true
    route.counters.requests += 1
  }

  #attempt(route: LiveRoute) {
    const claim = this.claimOn(route, [], false)
    if (claim === null) {
      const isFull = route.targets.some((target) => target.isFull)
      return this.#failWith(this.#tried.length > 0 ? this.#lastFailure : isFull ? 'overloaded' : 'no-instance')
    }
    const idle = this.#attempts > 1 ? null : claim.takeIdle(this.#body.isEmpty && isRepeatable(this.#request.method))
    if (idle === null) this.#approach = new Approach(this.#context.board.watchers, this, claim)
    else this.arrived(claim, idle)
  }

  findRoute(): LiveRoute | null {
    return this.#context.board.find(this.#target.host, this.#target.path)
  }

  claimOn(route: LiveRoute, besides: readonly LiveTarget[], isAfresh: boolean): LiveTarget | null {
    if (isAfresh) this.#attempts = 0
    if (this.#attempts >= LIMITS.edgeAttempts) return null
    const claim = route.choose(besides.length === 0 ? this.#tried : [...this.#tried, ...besides])
    if (claim === null) return null
    claim.claim(this, !this.#isProbe)
    this.#route = route
    this.#generation = route.record.generation
    this.#attempts += 1
    return claim
  }

  passOver(target: LiveTarget): void {
    this.#tried.push(target)
  }

  stranded() {
    this.#approach = null
    if (!this.#isOver) this.#again()
  }

  arrived(claim: LiveTarget, connection: UpstreamConnection): void {
    this.#approach = null
    this.#claim = claim
    this.#connection = connection
    connection.begin(this)
    const { method = 'GET', rawHeaders, headers } = this.#request
    const context = this.#context
    const lines = forwardedHeaderLines(rawHeaders, headers.connection, {
      clientAddress: this.#request.socket.remoteAddress ?? 'unknown',
      host: this.#target.authority,
      ...outerScheme(context, headers),
    })
    this.deadline = performance.now() + context.responseTimeoutMs
    context.waiting.add(this)
    connection.sendHead(method, requestHead(method, this.#target.path, lines, this.#body.framing, null))
    this.#body.pumpInto(connection)
  }

  // ── answer
  information(status: number, headers: RawHeaders): void {
    if (this.#isHeadSent || this.#request.httpVersionMinor === 0) return
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

  head(head: ResponseHead): void {
    this.#context.waiting.delete(this)
    this.#isHeadSent = true
    this.#status = head.status
    this.#noteFirstByte()
    const isStreamed = head.framing === 'chunked' || head.framing === 'close'
    const keepsTrailer = head.framing === 'chunked' && this.#request.httpVersionMinor === 1
    let headers = responseHeaders(head.rawHeaders, head.connection, keepsTrailer, this.#context.cookieBase)
    if (head.status === 204) headers = without(headers, 'content-length')
    if (this.#isProbe) headers.push(GENERATION_HEADER, String(this.#generation))
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

  data(chunk: Buffer) {
    if (this.#isOver) return
    const isFirst = !this.#hasBodyBytes
    this.#hasBodyBytes = true
    if (this.#events !== null && this.#forwardEvents(this.#events, chunk)) return
    // Head and a small body go out in one write if this turns out to be all of it; `paused` follows when it is not.
    if (isFirst && chunk.length <= ONE_WRITE_BYTES) this.#held = chunk
    else {
      this.#writeHeld()
      this.#write(chunk)
    }
  }

  /** The client gets what there is now: the first bytes of the body, or the head alone. */
  paused() {
    if (!this.#isHeadSent || this.#isOver) return
    if (this.#held !== null) this.#writeHeld()
    else if (!this.#hasBodyBytes) this.#response.flushHeaders()
  }

  #writeHeld() {
    const held = this.#held
    this.#held = null
    if (held !== null) this.#write(held)
  }

  #write(chunk: Buffer) {
    if (!this.#response.write(chunk)) this.#waitForClient()
  }

  end(trailers: RawHeaders) {
    if (this.#isOver) return
    this.#isOver = true
    this.#countAnswer()
    if (trailers.length > 0) this.#sendTrailers(trailers)
    // An answer that came before the whole request: the rest of the request has no reader any more.
    const isRequestSent = this.#body.isSent
    if (!isRequestSent) this.#body.abandon()
    // node:http joins its head with a string, not with a buffer.
    if (this.#held === null) this.#response.end()
    else this.#response.end(this.#held.toString('latin1'), 'latin1')
    this.#connection?.finish(isRequestSent)
    this.#land()
  }

  upgraded(_head: ResponseHead, socket: Socket) {
    // 101 without having been asked for it.
    socket.destroy()
    this.failed(new ResponseSyntaxError('101 without an upgrade'))
  }

  failed(error: Error & { code?: string }) {
    if (this.#isOver) return
    const connection = this.#connection
    this.#context.waiting.delete(this)
    this.#connection = null
    this.#body.detach()
    const claim = this.#claim
    if (error instanceof ResponseSyntaxError) return this.#refuseAnswer(error)
    if (this.#mayRepeat(connection)) {
      // A reused connection that broke says nothing about the target; a refused one does.
      if (claim !== null && connection?.isUsed !== true) this.#tried.push(claim)
      this.#lastFailure = connection !== null && connection.bytesSent > 0 ? 'instance-failed' : 'instance-unreachable'
      this.#land()
      return this.#again()
    }
    if (this.#isHeadSent) return this.#abort()
    const isUnsent = connection === null || connection.bytesSent === 0
    this.#failWith(isUnsent ? 'instance-unreachable' : 'instance-failed')
  }

  /** It was reached, and it answered: the next try would get the same. */
  #refuseAnswer(error: ResponseSyntaxError): void {
    if (this.#claim !== null) this.#context.noteInvalid(this.#claim.target.instanceId, error.what)
    if (this.#isHeadSent) this.#abort()
    else this.#failWith('instance-invalid', error.what)
  }

  #again() {
    const route = this.findRoute()
    if (route === null) return this.#refuse('unknown-host')
    this.#route = route
    return route.record.held ? this.#park(route) : this.#attempt(route)
  }

  timeOut() {
    if (!this.#isOver && !this.#isHeadSent) this.#failWith('instance-timeout')
  }

  #mayRepeat(connection: UpstreamConnection | null): boolean {
    if (this.#isHeadSent || this.#attempts >= LIMITS.edgeAttempts || connection === null) return false
    if (connection.bytesSent === 0) return true
    return this.#body.isEmpty && isRepeatable(this.#request.method)
  }

  // ── cut by a drain
  cut() {
    if (this.#isOver || this.#cutTimer !== null) return
    if (!this.#isHeadSent) return this.#failWith('drain-deadline')
    if (this.#events === null) return this.#abort()
    if (this.#events.isAtBoundary) return this.#endEvents()
    this.#cutTimer = setTimeout(() => this.#abort(), LIMITS.cutGraceMs)
  }

  /** True when the stream ended here because a drain waits for it. */
  #forwardEvents(events: EventBoundary, chunk: Buffer): boolean {
    if (this.#cutTimer === null) {
      events.push(chunk)
      return false
    }
    this.#writeHeld()
    const length = events.pushUntilBoundary(chunk)
    this.#response.write(length === -1 ? chunk : chunk.subarray(0, length))
    if (length !== -1) this.#endEvents()
    return true
  }

  #endEvents(): void {
    this.#isOver = true
    this.#countAnswer()
    this.#response.end()
    this.#connection?.destroy()
    this.#land()
  }

  // ── ends
  #failWith(code: EdgeErrorCode, what?: string): void {
    if (!this.#isProbe && this.#route !== null) {
      this.#route.counters.failures += 1
      if (this.#claim !== null) this.#claim.failures += 1
    }
    this.#noteFirstByte()
    this.#refuse(code, what)
  }

  #refuse(code: EdgeErrorCode, what?: string): void {
    this.#isOver = true
    this.#connection?.destroy()
    this.#land()
    const page = errorPage(code, this.#request.headers.accept, what)
    const headers = [...page.headers]
    if (this.#context.isRetiring) headers.push('connection', 'close')
    this.#body.abandon()
    this.#response.writeHead(page.status, headers)
    this.#response.end(page.body)
  }

  /** The head is out, the rest will not come: only a broken connection tells the client the truth. */
  #abort(): void {
    this.#isOver = true
    if (!this.#isProbe && this.#route !== null) {
      this.#route.counters.failures += 1
      if (this.#claim !== null) this.#claim.failures += 1
    }
    this.#connection?.destroy()
    this.#land()
    this.#response.destroy()
  }

  #clientClosed(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#route?.unpark(this)
    this.#body.detach()
    this.#connection?.destroy()
    this.#land()
  }

  #land(): void {
    clearTimeout(this.#cutTimer ?? undefined)
    this.#context.waiting.delete(this)
    this.#approach?.cancel()
    this.#approach = null
    this.#claim?.land(this)
    this.#claim = null
    if (this.#isOver) this.#connection = null
  }

  #noteFirstByte(): void {
    const route = this.#route
    if (route === null || this.#isProbe) return
    const tookMs = performance.now() - this.#startedAt
    if (tookMs > route.counters.longestStallMs) route.counters.longestStallMs = tookMs
  }

  #countAnswer(): void {
    if (this.#status < 500 || this.#isProbe || this.#claim === null || this.#route === null) return
    this.#claim.serverErrors += 1
    if (this.#generation === this.#route.record.generation) this.#route.counters.serverErrors += 1
  }

  #sendTrailers(trailers: RawHeaders): void {
    const kept = safeTrailers(trailers)
    // Only a chunked answer has room for them; node:http drops them silently otherwise.
    if (kept.length > 0) this.#response.addTrailers(kept as unknown as Record<string, string>)
  }

  #waitForClient(): void {
    const connection = this.#connection
    connection?.pause()
    if (this.#isDrainWatched) return
    this.#isDrainWatched = true
    this.#response.on('drain', () => this.#connection?.resume())
  }
}

function isRepeatable(method: string | undefined): boolean {
  return method === 'GET' || method === 'HEAD'
}
