import { createServer, type IncomingMessage, type Server, ServerResponse } from 'node:http'
import { Server as NetServer, type Socket } from 'node:net'
import { LIMITS } from '../../core/limits.ts'
import type { EdgeContext } from './edge-context.ts'
import { type EdgeErrorCode, errorPage } from './error-page.ts'
import { Exchange } from './exchange.ts'
import type { BodyFraming } from './headers.ts'
import { readRequestTarget } from './request-target.ts'
import { offeredProtocols, Tunnel } from './tunnel.ts'

/** Of the edge itself, where no service has the host. */
const HEALTH_PATH = '/healthz'

/** The public HTTP/1.1 server of one worker, on node:http's strict parser. */
export class Front {
  readonly #context: EdgeContext
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #sweeper: NodeJS.Timeout | null = null

  constructor(context: EdgeContext) {
    this.#context = context
    this.#server = createServer({
      keepAliveTimeout: LIMITS.clientKeepAliveMs,
      headersTimeout: LIMITS.clientHeadersMs,
      requestTimeout: LIMITS.clientRequestMs,
      maxHeaderSize: LIMITS.requestHeaderBytes,
      insecureHTTPParser: false,
      requireHostHeader: true,
      joinDuplicateHeaders: true,
      noDelay: true,
    })
    // node:http drops headers beyond this count; the byte bound is the one that holds.
    this.#server.maxHeadersCount = 0
    const onRequest = (request: IncomingMessage, response: ServerResponse) => this.#exchange(request, response)
    this.#server.on('request', onRequest)
    // The instance says whether the client may go on, so that it can also refuse.
    this.#server.on('checkContinue', onRequest)
    this.#server.on('upgrade', (request, socket, head) => this.#tunnel(request, socket as Socket, head))
    this.#server.on('connect', (request, socket) => refuseRaw(socket as Socket, 'method-refused', request.headers.accept))
    this.#server.on('clientError', (error: NodeJS.ErrnoException, socket) => refuseUnparsed(error, socket as Socket))
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket)
      readUpgradesOfHttpAsRequests(socket)
      socket.once('close', () => this.#sockets.delete(socket))
    })
  }

  get connections(): number {
    return this.#sockets.size
  }

  /** Takes connections from a listening socket that was inherited as `fd`. */
  listen(fd: number): Promise<void> {
    const everyMs = Math.min(1000, Math.max(20, this.#context.responseTimeoutMs / 4))
    this.#sweeper = setInterval(() => this.#sweep(), everyMs)
    this.#sweeper.unref()
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen({ fd }, () => {
        this.#server.off('error', reject)
        resolve()
      })
    })
  }

  /** No new connections. Those that stand get one more answer each, with `Connection: close`; idle ones end after their time. */
  stopListening(): void {
    this.#context.isRetiring = true
    // http.Server.close would also destroy idle connections, on which a client may be sending right now.
    NetServer.prototype.close.call(this.#server)
  }

  #exchange(request: IncomingMessage, response: ServerResponse) {
    if (!isSpoken(request)) return refuseParsed('version-refused', request, response)
    const target = isSingleHost(request) ? readRequestTarget(request.url ?? '', request.headers.host) : null
    const framing = bodyFraming(request)
    if (asksForNobody(request)) return this.#answerForNobody(request, response)
    if (target === null || framing === null) return refuseParsed('bad-request', request, response)
    if (target.path === HEALTH_PATH && this.#context.board.find(target.host, target.path) === null)
      return this.#answerForNobody(request, response)
    new Exchange(this.#context, request, response, target, framing).start()
  }

  /** A balancer in front asks whether the edge is well, and knows no host to ask for. */
  #answerForNobody(request: IncomingMessage, response: ServerResponse) {
    if ((request.url ?? '').split('?')[0] !== HEALTH_PATH) return refuseParsed('unknown-host', request, response)
    const isWell = !this.#context.isRetiring
    response.writeHead(isWell ? 200 : 503, [
      'content-type',
      'text/plain',
      'content-length',
      isWell ? '3' : '8',
      'cache-control',
      'no-store',
      'connection',
      'close',
    ])
    response.end(isWell ? 'ok\n' : 'leaving\n')
  }

  #tunnel(request: IncomingMessage, socket: Socket, head: Buffer) {
    const target = isSingleHost(request) ? readRequestTarget(request.url ?? '', request.headers.host) : null
    if (!isSpoken(request)) return refuseRaw(socket, 'version-refused', request.headers.accept)
    // A body before an upgrade would be read by nobody: its bytes could pass as the tunnel's.
    const hasBody = bodyFraming(request) !== 'none' && bodyFraming(request) !== 0
    if (target === null || hasBody) return refuseRaw(socket, 'bad-request', request.headers.accept)
    new Tunnel(this.#context, request, socket, head, target).start()
  }

  #sweep(): void {
    const now = performance.now()
    for (const waiting of this.#context.waiting) if (now >= waiting.deadline) waiting.timeOut()
    this.#context.board.sweep()
  }
}

/** HTTP/1.0 without Host, as simple health checks speak. */
function asksForNobody(request: IncomingMessage): boolean {
  return request.httpVersion === '1.0' && request.headers.host === undefined && bodyFraming(request) === 'none'
}

interface Parser {
  onIncoming?: (request: IncomingMessage & { upgrade?: boolean }, keepAlive: boolean) => unknown
}

/**
 * Clients that would like HTTP/2 say so with their first request, body and all (`Upgrade: h2c`); a server may go on as if they had not
 * (RFC 9110 §7.8). node:http takes every request with that header for the beginning of a tunnel as long as anybody listens for tunnels, and
 * asks about single ones from Node 24.9 on only. With a body in it such a request is given back to the parser, which then reads the body.
 */
function readUpgradesOfHttpAsRequests(socket: Socket): void {
  const parser = (socket as Socket & { parser?: Parser | null }).parser
  const original = parser?.onIncoming
  if (parser === null || parser === undefined || original === undefined) return
  parser.onIncoming = (request, keepAlive) => {
    if (
      request.upgrade === true &&
      request.method !== 'CONNECT' &&
      !hasNoBody(request) &&
      offeredProtocols(request.headers.upgrade) === null
    )
      request.upgrade = false
    return original(request, keepAlive)
  }
}

function hasNoBody(request: IncomingMessage): boolean {
  const framing = bodyFraming(request)
  return framing === 'none' || framing === 0 || framing === null
}

/** node:http reads `HTTP/0.9` and `HTTP/2.0` in a request line as well, and serves both as if they were 1.1. */
function isSpoken({ httpVersion }: IncomingMessage): boolean {
  return httpVersion === '1.1' || httpVersion === '1.0'
}

/** node:http keeps the first of several Host headers; another reader might keep the last. */
function isSingleHost(request: IncomingMessage): boolean {
  const { rawHeaders } = request
  let count = 0
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? ''
    if (name.length === 4 && name.toLowerCase() === 'host') count += 1
  }
  return count === 1
}

/** How the client delimits its body; null when that is not beyond doubt. The parser has refused most doubtful shapes before. */
function bodyFraming(request: IncomingMessage): BodyFraming | null {
  const coding = request.headers['transfer-encoding']
  const length = request.headers['content-length']
  if (coding === undefined && length === undefined) return 'none'
  if (coding !== undefined) {
    const isPlain = coding.toLowerCase() === 'chunked' && length === undefined && request.httpVersionMinor === 1
    return isPlain ? 'chunked' : null
  }
  return /^[0-9]{1,15}$/.test(length ?? '') ? Number(length) : null
}

function refuseParsed(code: EdgeErrorCode, request: IncomingMessage, response: ServerResponse): void {
  const page = errorPage(code, request.headers.accept)
  response.writeHead(page.status, [...page.headers, 'connection', 'close'])
  response.end(page.body)
}

function refuseRaw(socket: Socket, code: EdgeErrorCode, accept: string | undefined, what?: string) {
  if (!socket.writable) return void socket.destroy()
  const page = errorPage(code, accept, what)
  let head = `HTTP/1.1 ${page.status} -\r\n`
  for (let index = 0; index + 1 < page.headers.length; index += 2) head += `${page.headers[index]}: ${page.headers[index + 1]}\r\n`
  socket.on('error', () => socket.destroy())
  socket.end(`${head}connection: close\r\n\r\n${page.body}`)
  // Whatever follows is not read as a request; the client gets time to read the answer.
  socket.resume()
  const timer = setTimeout(() => socket.destroy(), LIMITS.cutGraceMs)
  socket.once('close', () => clearTimeout(timer))
}

function refuseUnparsed(error: NodeJS.ErrnoException, socket: Socket) {
  if (error.code === 'ECONNRESET') return void socket.destroy()
  // An answer is already on its way: a second one would be read as part of it.
  const pending = (socket as Socket & { _httpMessage?: ServerResponse })._httpMessage
  if (pending instanceof ServerResponse && pending.headersSent) return void socket.destroy()
  if (error.code === 'HPE_HEADER_OVERFLOW') return refuseRaw(socket, 'header-too-large', undefined)
  if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT') return refuseRaw(socket, 'request-timeout', undefined)
  if (error.code === 'HPE_INVALID_URL') return refuseRaw(socket, 'bad-request', undefined, UNENCODED)
  refuseRaw(socket, 'bad-request', undefined)
}
const UNENCODED = 'its path holds what has to be percent-encoded'
