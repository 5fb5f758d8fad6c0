import { connect, type Socket } from 'node:net'
import { LIMITS } from '../../core/limits.ts'
import type { Target } from '../edge.ts'
import type { RawHeaders } from './headers.ts'
import { type ResponseHead, ResponseParser, type ResponseSink, ResponseSyntaxError } from './response-parser.ts'

/** What one exchange learns from its connection. After `end`, `upgraded` or `failed` nothing more comes. */
export interface ExchangeSink {
  information(status: number, headers: RawHeaders): void
  head(head: ResponseHead): void
  data(chunk: Buffer): void
  /** All that one read brought has been passed on; the answer goes on. */
  paused(): void
  end(trailers: RawHeaders): void
  upgraded(head: ResponseHead, socket: Socket, rest: Buffer): void
  failed(error: Error): void
}

/** Who waits for a new connection. One of `connected` and `failed` comes, once. */
export interface ConnectWatcher {
  connected(connection: UpstreamConnection): void
  /** The patience has run out; it goes on trying. */
  slow(connection: UpstreamConnection): void
  failed(connection: UpstreamConnection): void
}

/** Room that the pool gives back or takes away. */
export interface ConnectionOwner {
  released(connection: UpstreamConnection): void
  closed(connection: UpstreamConnection): void
}

/**
 * One connection to an instance, one exchange at a time. It is reused only after an answer that was complete, asked for keep-alive
 * and left no byte behind.
 */
export class UpstreamConnection implements ResponseSink {
  readonly #socket: Socket
  readonly #parser = new ResponseParser(this)
  readonly #owner: ConnectionOwner
  #sink: ExchangeSink | null = null
  #watcher: ConnectWatcher | null = null
  #isReusable = false
  #isClosed = false
  #isTunnel = false
  #connectTimer: NodeJS.Timeout | null = null
  /** Bytes given to the socket for the current exchange. 0 = it may be repeated elsewhere. */
  bytesSent = 0
  /** performance.now() when it became idle; 0 while new or in use. */
  idleSince = 0
  /** How long the instance says that it keeps an idle connection, shortened by a margin. */
  idleMaxMs: number = LIMITS.upstreamKeepAliveMs
  /** Whether an earlier exchange used it: a failure may then be a keep-alive race. */
  isUsed = false

  constructor(target: Target, owner: ConnectionOwner) {
    this.#owner = owner
    this.#socket = connect({ host: target.host, port: target.port, noDelay: true })
    this.#socket.once('connect', () => {
      clearTimeout(this.#connectTimer ?? undefined)
      const watcher = this.#watcher
      this.#watcher = null
      watcher?.connected(this)
    })
    this.#socket.on('data', (chunk: Buffer) => this.#read(chunk))
    this.#socket.on('end', () => this.#ended())
    this.#socket.on('error', (error) => this.#fail(error))
    this.#socket.on('close', () => this.#fail(new Error('the instance closed the connection')))
  }

  /** True when nothing has arrived or broken while it lay idle. */
  get isHealthy(): boolean {
    return !this.#isClosed && !this.#socket.destroyed && this.#socket.readable && this.#socket.writable
  }

  get socket(): Socket {
    return this.#socket
  }

  /** For a new one: tells when it stands. The whole wait is bounded by `LIMITS.upstreamConnectMs`. */
  watch(watcher: ConnectWatcher, patienceMs: number): void {
    this.#watcher = watcher
    this.#connectTimer = setTimeout(() => {
      this.#connectTimer = setTimeout(() => {
        this.#fail(Object.assign(new Error('the instance did not accept the connection in time'), { code: 'ETIMEDOUT' }))
      }, LIMITS.upstreamConnectMs - patienceMs)
      watcher.slow(this)
    }, patienceMs)
  }

  /** Takes one that stands for an exchange. */
  begin(sink: ExchangeSink): void {
    this.#sink = sink
    this.#isReusable = false
    this.bytesSent = 0
    this.idleSince = 0
  }

  sendHead(method: string, head: string): void {
    this.#parser.begin(method)
    this.bytesSent += head.length
    this.#socket.write(head, 'latin1')
  }

  /** False when the instance does not keep up; `onDrain` tells when it does again. */
  write(chunk: Buffer | string): boolean {
    this.bytesSent += chunk.length
    return this.#socket.write(chunk, 'latin1' as BufferEncoding)
  }

  onDrain(listener: () => void): void {
    this.#socket.on('drain', listener)
  }

  offDrain(listener: () => void): void {
    this.#socket.off('drain', listener)
  }

  cork(): void {
    this.#socket.cork()
  }

  uncork(): void {
    this.#socket.uncork()
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  /** The exchange is over on the edge's side; `mayReuse` is false when request bytes are still owed. */
  finish(mayReuse: boolean) {
    this.#sink = null
    if (!mayReuse || !this.#isReusable || !this.isHealthy) return this.destroy()
    this.isUsed = true
    this.idleSince = performance.now()
    this.#socket.resume()
    this.#owner.released(this)
  }

  destroy(): void {
    this.#sink = null
    this.#watcher = null
    this.#close()
    this.#socket.destroy()
  }

  // ── ResponseSink
  information(status: number, headers: RawHeaders): void {
    this.#sink?.information(status, headers)
  }

  head(head: ResponseHead): void {
    this.#isReusable = head.isKeepAlive
    if (head.keepAliveSeconds !== null) {
      this.idleMaxMs = Math.min(LIMITS.upstreamKeepAliveMs, head.keepAliveSeconds * 1000 - KEEP_ALIVE_MARGIN_MS)
    }
    this.#sink?.head(head)
  }

  data(chunk: Buffer): void {
    this.#sink?.data(chunk)
  }

  /** Told to the exchange only after the whole read was parsed: bytes after the answer make the connection useless. */
  end(trailers: RawHeaders): void {
    this.#trailers = trailers
  }
  #trailers: RawHeaders | null = null

  upgraded(head: ResponseHead, rest: Buffer): void {
    this.#isTunnel = true
    this.#close()
    this.#socket.removeAllListeners('data').removeAllListeners('end').removeAllListeners('close')
    this.#socket.pause()
    const sink = this.#sink
    this.#sink = null
    sink?.upgraded(head, this.#socket, rest)
  }

  #read(chunk: Buffer) {
    try {
      this.#parser.push(chunk)
    } catch (error) {
      // An answer that was already whole stays whole; what follows it condemns only the connection.
      this.#isReusable = false
      if (this.#trailers === null) return this.#fail(error instanceof Error ? error : new ResponseSyntaxError(String(error)))
    }
    if (this.#isTunnel) return
    if (this.#trailers === null) this.#sink?.paused()
    else this.#deliverEnd()
  }

  #deliverEnd() {
    const trailers = this.#trailers ?? []
    const sink = this.#sink
    this.#trailers = null
    sink?.end(trailers)
  }

  #ended() {
    this.#isReusable = false
    if (this.#sink === null) return this.destroy()
    try {
      this.#parser.close()
    } catch {
      return this.#fail(Object.assign(new Error('the instance closed the connection'), { code: 'ECONNRESET' }))
    }
    this.#deliverEnd()
  }

  #fail(error: Error): void {
    const [sink, watcher] = [this.#sink, this.#watcher]
    this.#sink = null
    this.#watcher = null
    this.#close()
    this.#socket.destroy()
    sink?.failed(error)
    watcher?.failed(this)
  }

  #close(): void {
    clearTimeout(this.#connectTimer ?? undefined)
    if (this.#isClosed) return
    this.#isClosed = true
    this.#owner.closed(this)
  }
}

/** An instance that keeps connections for n seconds closes them about then; nothing is sent in the last part of it. */
const KEEP_ALIVE_MARGIN_MS = 600
