import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { LIMITS } from '../../core/limits.ts'
import { Approach, type Traveller } from './approach.ts'
import { type EdgeContext, isProbe, outerScheme } from './edge-context.ts'
import { type EdgeErrorCode, errorPage } from './error-page.ts'
import { forwardedHeaderLines, PROBE_HEADER, type RawHeaders, requestHead, responseHeaders } from './headers.ts'
import type { LiveRoute, Parked } from './live-route.ts'
import type { LiveTarget } from './live-target.ts'
import { Patience } from './patience.ts'
import type { RequestTarget } from './request-target.ts'
import { type ResponseHead, ResponseSyntaxError } from './response-parser.ts'
import type { ExchangeSink, UpstreamConnection } from './upstream-connection.ts'
import { CLOSE_1012, FrameBoundary } from './websocket-frames.ts'

/**
 * An upgrade (websocket and others) and the tunnel behind it. It claims its target like any request and counts as in flight until
 * either side ends. A drain closes a websocket with 1012 between two frames (DESIGN.md §9.5).
 */
export class Tunnel implements ExchangeSink, Traveller, Parked {
  readonly #context: EdgeContext
  readonly #request: IncomingMessage
  readonly #client: Socket
  readonly #target: RequestTarget
  readonly #early: Buffer
  readonly #startedAt = performance.now()
  readonly #tried: LiveTarget[] = []
  readonly #patience = new Patience(this)
  #route: LiveRoute | null = null
  #claim: LiveTarget | null = null
  #approach: Approach | null = null
  #connection: UpstreamConnection | null = null
  #instance: Socket | null = null
  #frames: FrameBoundary | null = null
  #isOver = false
  #isHeadSent = false
  #isAnswerChunked = false
  #isCounted = false
  #cutTimer: NodeJS.Timeout | null = null
  deadline = Number.POSITIVE_INFINITY

  constructor(context: EdgeContext, request: IncomingMessage, client: Socket, early: Buffer, target: RequestTarget) {
    this.#context = context
    this.#request = request
    this.#client = client
    this.#early = early
    this.#target = target
    client.on('error', () => client.destroy())
    client.on('close', () => this.#end())
  }

  start() {
    const route = this.findRoute()
    if (route === null) return this.#refuse('unknown-host')
    this.#route = route
    if (route.record.held) return this.#wait(route)
    this.#attempt(route)
  }

  #wait(route: LiveRoute) {
    const { board } = this.#context
    if (route.isHoldOver || board.parked >= board.parkedMax) return this.#failWith('held')
    route.park(this)
  }

  /** Whatever was tried before, an instance may have come back there. */
  proceed(): void {
    this.#patience.end()
    if (this.#isOver) return
    this.#tried.length = 0
    this.start()
  }

  refuse(): void {
    this.#patience.end()
    if (!this.#isOver) this.#failWith('held')
  }

  #attempt(route: LiveRoute) {
    if (!this.#isCounted) route.counters.requests += 1
    this.#isCounted = true
    this.#patience.begin()
    const claim = this.claimOn(route, [], false)
    if (claim !== null) this.#approach = new Approach(this.#context.board.watchers, this, claim)
    else if (this.#tried.length === 0) this.#failWith('no-instance')
    else if (!this.#patience.wait(this.#context.board, route)) this.#failWith('instance-unreachable')
  }

  findRoute(): LiveRoute | null {
    return this.#context.board.find(this.#target.host, this.#target.path)
  }

  claimOn(route: LiveRoute, besides: readonly LiveTarget[], isAfresh: boolean): LiveTarget | null {
    if (isAfresh) this.#tried.length = 0
    const claim = this.#tried.length + besides.length >= LIMITS.edgeAttempts ? null : route.choose([...this.#tried, ...besides])
    if (claim === null) return null
    claim.claim(this, true)
    this.#route = route
    return claim
  }

  passOver(target: LiveTarget): void {
    this.#tried.push(target)
  }

  stranded() {
    this.#approach = null
    if (!this.#isOver) this.start()
  }

  // ── the instance's side
  arrived(claim: LiveTarget, connection: UpstreamConnection): void {
    this.#approach = null
    this.#claim = claim
    this.#connection = connection
    connection.begin(this)
    const { method = 'GET', rawHeaders, headers } = this.#request
    const lines = forwardedHeaderLines(rawHeaders, headers.connection, {
      clientAddress: this.#client.remoteAddress ?? 'unknown',
      host: this.#target.authority,
      ...outerScheme(this.#context, headers),
    })
    this.deadline = performance.now() + this.#context.responseTimeoutMs
    this.#context.waiting.add(this)
    const upgrade = offeredProtocols(headers.upgrade)
    connection.sendHead(method, requestHead(method, this.#target.path, withoutSettings(lines), 'none', upgrade))
  }

  upgraded(head: ResponseHead, instance: Socket, rest: Buffer): void {
    this.#context.waiting.delete(this)
    this.#noteFirstByte()
    this.#connection = null
    this.#instance = instance
    this.#isHeadSent = true
    const isWebsocket = this.#request.headers.upgrade?.toLowerCase() === 'websocket'
    if (isWebsocket) this.#frames = new FrameBoundary()
    const upgrade = this.#request.headers.upgrade ?? ''
    const lines = headerLines(responseHeaders(head.rawHeaders, head.connection, false, this.#context.cookieBase))
    this.#client.setTimeout(0)
    this.#client.write(`HTTP/1.1 101 ${head.reason}\r\n${lines}connection: upgrade\r\nupgrade: ${upgrade}\r\n\r\n`, 'latin1')
    this.#join(instance, rest)
  }

  #join(instance: Socket, rest: Buffer): void {
    const client = this.#client
    const toClient = (chunk: Buffer) => this.#passToClient(chunk)
    if (rest.length > 0) toClient(rest)
    if (this.#early.length > 0) instance.write(this.#early)
    instance.on('data', toClient)
    client.on('data', (chunk: Buffer) => {
      if (!instance.write(chunk)) client.pause()
    })
    instance.on('drain', () => client.resume())
    client.on('drain', () => instance.resume())
    instance.on('end', () => client.end())
    client.on('end', () => instance.end())
    instance.on('error', () => instance.destroy())
    instance.on('close', () => this.#end())
    instance.resume()
    client.resume()
  }

  #passToClient(chunk: Buffer): void {
    if (this.#isOver) return
    let passed = chunk
    if (this.#cutTimer !== null && this.#frames !== null) {
      const length = this.#frames.pushUntilBoundary(chunk)
      if (length !== -1) passed = chunk.subarray(0, length)
    } else this.#frames?.push(chunk)
    if (!this.#client.write(passed)) this.#instance?.pause()
    if (this.#cutTimer !== null && this.#frames?.isAtBoundary === true) this.#sayRestart()
  }

  // ── an instance that answers instead of upgrading
  information(): void {}

  head(head: ResponseHead): void {
    this.#context.waiting.delete(this)
    this.#noteFirstByte()
    this.#isHeadSent = true
    if (head.status >= 500 && this.#claim !== null && this.#route !== null) {
      this.#claim.serverErrors += 1
      this.#route.counters.serverErrors += 1
    }
    // HTTP/1.1 and the end of the connection delimit it; the client's next request comes on a new one.
    this.#isAnswerChunked = head.framing === 'chunked' || head.framing === 'close'
    const lines = headerLines(responseHeaders(head.rawHeaders, head.connection, false, this.#context.cookieBase))
    const framing = this.#isAnswerChunked ? 'transfer-encoding: chunked\r\n' : ''
    this.#client.write(`HTTP/1.1 ${head.status} ${head.reason}\r\n${lines}${framing}connection: close\r\n\r\n`, 'latin1')
  }

  data(chunk: Buffer): void {
    if (this.#isOver) return
    if (this.#isAnswerChunked) this.#client.write(`${chunk.length.toString(16)}\r\n`, 'latin1')
    const hasRoom = this.#client.write(chunk)
    if (this.#isAnswerChunked) this.#client.write('\r\n', 'latin1')
    if (hasRoom) return
    this.#connection?.pause()
    this.#client.once('drain', () => this.#connection?.resume())
  }

  paused(): void {}

  end(_trailers: RawHeaders) {
    this.#isOver = true
    if (this.#isAnswerChunked) this.#client.write('0\r\n\r\n')
    this.#client.end()
    this.#client.resume()
    this.#connection?.finish(false)
    this.#connection = null
    this.#land()
  }

  failed(error: Error) {
    if (this.#isOver) return
    this.#connection = null
    this.#context.waiting.delete(this)
    if (this.#isHeadSent) return this.#end()
    if (!(error instanceof ResponseSyntaxError)) return this.#failWith('instance-failed')
    if (this.#claim !== null) this.#context.noteInvalid(this.#claim.target.instanceId, error.what)
    this.#failWith('instance-invalid', error.what)
  }

  timeOut() {
    if (!this.#isOver && !this.#isHeadSent) this.#failWith('instance-timeout')
  }

  // ── cut by a drain
  cut() {
    if (this.#isOver || this.#cutTimer !== null) return
    if (!this.#isHeadSent) return this.#failWith('drain-deadline')
    if (this.#frames === null) return this.#end()
    this.#cutTimer = setTimeout(() => this.#end(), LIMITS.cutGraceMs)
    if (this.#frames.isAtBoundary) this.#sayRestart()
  }

  #sayRestart(): void {
    this.#isOver = true
    this.#client.end(CLOSE_1012)
    this.#client.resume()
    this.#instance?.destroy()
    this.#land()
    const client = this.#client
    const timer = setTimeout(() => client.destroy(), LIMITS.cutGraceMs)
    client.once('close', () => clearTimeout(timer))
  }

  // ── ends
  #failWith(code: EdgeErrorCode, what?: string): void {
    if (this.#route !== null && !isProbe(this.#context, this.#request.headers[PROBE_HEADER])) this.#route.counters.failures += 1
    if (this.#claim !== null) this.#claim.failures += 1
    this.#refuse(code, what)
  }

  #refuse(code: EdgeErrorCode, what?: string): void {
    this.#isOver = true
    const page = errorPage(code, this.#request.headers.accept, what)
    this.#client.end(`HTTP/1.1 ${page.status} -\r\n${headerLines(page.headers)}connection: close\r\n\r\n${page.body}`)
    this.#client.resume()
    this.#connection?.destroy()
    this.#connection = null
    this.#land()
  }

  #end(): void {
    if (this.#isOver && this.#claim === null && this.#instance === null) return
    this.#isOver = true
    this.#patience.end()
    this.#route?.unpark(this)
    this.#connection?.destroy()
    this.#connection = null
    this.#instance?.destroy()
    this.#instance = null
    this.#client.destroy()
    this.#land()
  }

  #land(): void {
    if (this.#isOver) clearTimeout(this.#cutTimer ?? undefined)
    this.#context.waiting.delete(this)
    this.#approach?.cancel()
    this.#approach = null
    this.#claim?.land(this)
    this.#claim = null
  }

  #noteFirstByte(): void {
    const counters = this.#route?.counters
    if (counters !== undefined) counters.longestStallMs = Math.max(counters.longestStallMs, performance.now() - this.#startedAt)
  }
}

function headerLines(headers: readonly string[]): string {
  let lines = ''
  for (let index = 0; index + 1 < headers.length; index += 2) lines += `${headers[index]}: ${headers[index + 1]}\r\n`
  return lines
}

/** An offer may be ignored (RFC 9110 §7.8); HTTP itself, or TLS with HTTP in it, would hide requests from the edge within a tunnel. */
export function offeredProtocols(upgrade: string | undefined): string | null {
  const offered = (upgrade ?? '').split(',').map((protocol) => protocol.trim())
  const kept = offered.filter((protocol) => protocol !== '' && !/^(?:h2c?|h3|http|tls)(?:$|[/-])/i.test(protocol))
  return kept.length === 0 ? null : kept.join(', ')
}

function withoutSettings(lines: string): string {
  return lines.replace(/^http2-settings:.*\r\n/im, '')
}
