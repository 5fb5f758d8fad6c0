import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { LIMITS } from '../../core/limits.ts'
import { AnswerWriter } from './answer-writer.ts'
import { Approach, type Traveller } from './approach.ts'
import { type EdgeContext, isProbe, outerScheme } from './edge-context.ts'
import { type EdgeErrorCode, errorPage } from './error-page.ts'
import { type BodyFraming, forwardedHeaderLines, PROBE_HEADER, type RawHeaders, requestHead } from './headers.ts'
import type { LiveRoute, Parked } from './live-route.ts'
import type { LiveTarget } from './live-target.ts'
import { Patience } from './patience.ts'
import { RequestBody } from './request-body.ts'
import type { RequestTarget } from './request-target.ts'
import { type ResponseHead, ResponseSyntaxError } from './response-parser.ts'
import type { ExchangeSink, UpstreamConnection } from './upstream-connection.ts'

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
  readonly #answer: AnswerWriter
  readonly #patience = new Patience(this)
  readonly #isProbe: boolean
  readonly #startedAt = performance.now()
  readonly #tried: LiveTarget[] = []
  #route: LiveRoute | null = null
  #claim: LiveTarget | null = null
  #generation = 0
  #approach: Approach | null = null
  #connection: UpstreamConnection | null = null
  /** Ways that were tried since the request last waited. */
  #attempts = 0
  /** An instance may have got it, and may have ended for it: it waits for no other one. */
  #wasSent = false
  /** What to say when no target is left. */
  #lastFailure: 'instance-unreachable' | 'instance-failed' = 'instance-unreachable'
  #isOver = false
  #isCounted = false
  #cutTimer: NodeJS.Timeout | null = null
  deadline = Number.POSITIVE_INFINITY

  constructor(context: EdgeContext, request: IncomingMessage, response: ServerResponse, target: RequestTarget, framing: BodyFraming) {
    this.#context = context
    this.#request = request
    this.#response = response
    this.#target = target
    this.#body = new RequestBody(request, framing)
    this.#answer = new AnswerWriter(context, request, response, () => this.#connection)
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

  /** Whatever was tried before, an instance may have come back there. */
  proceed(): void {
    this.#patience.end()
    if (this.#isOver) return
    this.#tried.length = 0
    this.#attempts = 0
    this.start()
  }

  refuse(): void {
    this.#patience.end()
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
    this.#patience.begin()
    const claim = this.claimOn(route, [], false)
    if (claim === null) return this.#lack(route)
    const idle = this.#attempts > 1 ? null : claim.takeIdle(this.#body.isEmpty && isRepeatable(this.#request.method))
    if (idle === null) this.#approach = new Approach(this.#context.board.watchers, this, claim)
    else this.arrived(claim, idle)
  }

  /** No instance is left to be tried. */
  #lack(route: LiveRoute): void {
    if (this.#tried.length === 0) {
      const isFull = route.targets.some((target) => target.isFull)
      this.#failWith(isFull ? 'overloaded' : 'no-instance')
    } else if (this.#isProbe || this.#wasSent || !this.#patience.wait(this.#context.board, route)) {
      this.#failWith(this.#lastFailure)
    }
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
    this.#wasSent = true
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
    this.#answer.information(status, headers)
  }

  head(head: ResponseHead): void {
    this.#context.waiting.delete(this)
    this.#noteFirstByte()
    this.#answer.head(head, this.#isProbe ? this.#generation : null)
  }

  data(chunk: Buffer): void {
    if (this.#isOver) return
    const { events } = this.#answer
    if (this.#cutTimer === null || events === null) this.#answer.data(chunk)
    else if (this.#answer.dataUntilBoundary(events, chunk)) this.#endEvents()
  }

  paused(): void {
    if (!this.#isOver) this.#answer.paused()
  }

  end(trailers: RawHeaders) {
    if (this.#isOver) return
    this.#isOver = true
    this.#countAnswer()
    // An answer that came before the whole request: the rest of the request has no reader any more.
    const isRequestSent = this.#body.isSent
    if (!isRequestSent) this.#body.abandon()
    this.#answer.end(trailers)
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
    if (this.#answer.isHeadSent) return this.#abort()
    const isUnsent = connection === null || connection.bytesSent === 0
    this.#failWith(isUnsent ? 'instance-unreachable' : 'instance-failed')
  }

  /** It was reached, and it answered: the next try would get the same. */
  #refuseAnswer(error: ResponseSyntaxError): void {
    if (this.#claim !== null) this.#context.noteInvalid(this.#claim.target.instanceId, error.what)
    if (this.#answer.isHeadSent) this.#abort()
    else this.#failWith('instance-invalid', error.what)
  }

  #again() {
    const route = this.findRoute()
    if (route === null) return this.#refuse('unknown-host')
    this.#route = route
    return route.record.held ? this.#park(route) : this.#attempt(route)
  }

  /** A body that still comes is no silence of the application: what counts is how long nothing moved. */
  timeOut() {
    if (this.#isOver || this.#answer.isHeadSent) return
    this.deadline = this.#body.movedAt + this.#context.responseTimeoutMs
    if (performance.now() >= this.deadline) this.#failWith('instance-timeout')
  }

  #mayRepeat(connection: UpstreamConnection | null): boolean {
    if (this.#answer.isHeadSent || this.#attempts >= LIMITS.edgeAttempts || connection === null) return false
    if (connection.bytesSent === 0) return true
    return this.#body.isEmpty && isRepeatable(this.#request.method)
  }

  // ── cut by a drain
  cut() {
    if (this.#isOver || this.#cutTimer !== null) return
    if (!this.#answer.isHeadSent) return this.#failWith('drain-deadline')
    const { events } = this.#answer
    if (events === null) return this.#abort()
    if (events.isAtBoundary) return this.#endEvents()
    this.#cutTimer = setTimeout(() => this.#abort(), LIMITS.cutGraceMs)
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
    this.#patience.end()
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
    if (this.#answer.status < 500 || this.#isProbe || this.#claim === null || this.#route === null) return
    this.#claim.serverErrors += 1
    if (this.#generation === this.#route.record.generation) this.#route.counters.serverErrors += 1
  }
}

function isRepeatable(method: string | undefined): boolean {
  return method === 'GET' || method === 'HEAD'
}
