import { LIMITS } from '../../core/limits.ts'
import type { RawHeaders } from './headers.ts'

/** What an upstream answer is made of, in order: any number of `information`, one `head`, `data`, `end`. */
export interface ResponseSink {
  information(status: number, headers: RawHeaders): void
  head(head: ResponseHead): void
  data(chunk: Buffer): void
  end(trailers: RawHeaders): void
  /** 101: everything after the head belongs to the tunnel. */
  upgraded(head: ResponseHead, rest: Buffer): void
}

export interface ResponseHead {
  readonly status: number
  readonly reason: string
  readonly rawHeaders: RawHeaders
  /** Joined Connection headers. */
  readonly connection: string | undefined
  /** Seconds of `Keep-Alive: timeout=`, null when not said. */
  readonly keepAliveSeconds: number | null
  /** Number of bytes; `chunked`; `close` = until the connection ends; `none` = no body by definition. */
  readonly framing: number | 'chunked' | 'close' | 'none'
  readonly isKeepAlive: boolean
}

export class ResponseSyntaxError extends Error {
  /** Said to the client too: nothing of the answer itself is in it. */
  readonly what: string

  constructor(what: string) {
    super(`the instance's answer is not valid HTTP/1.1: ${what}`)
    this.name = 'ResponseSyntaxError'
    this.what = what
  }
}

const EMPTY = Buffer.alloc(0)
const CRLF = 0x0a0d
const STATUS_LINE = /^HTTP\/1\.([01]) ([1-9][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*))?$/
const NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what a header value must not hold
const BAD_VALUE = /[\u0000-\u0008\u000a-\u001f\u007f]/
const CHUNK_SIZE_LINE_BYTES = 1024
const LF = 0x0a
const CR = 0x0d
const HTTP_1 = Buffer.from('HTTP/1.')
const TOO_LARGE = `its header is larger than ${LIMITS.requestHeaderBytes} bytes`

type State = 'head' | 'fixed' | 'chunk-size' | 'chunk-data' | 'chunk-end' | 'trailers' | 'close' | 'done' | 'tunnel'

/**
 * Strict incremental parser of HTTP/1.1 responses. Throws ResponseSyntaxError on anything that two readers could understand
 * differently: both Content-Length and Transfer-Encoding, differing lengths, folded headers, a coding other than `chunked`.
 */
export class ResponseParser {
  readonly #sink: ResponseSink
  #state: State = 'done'
  #method = 'GET'
  #kept: Buffer = EMPTY
  /** Bytes of a header, chunk size or trailer that were looked at already and hold no end. */
  #seen = 0
  #remaining = 0
  #isLastChunk = false

  constructor(sink: ResponseSink) {
    this.#sink = sink
  }

  /** Between answers: nothing is expected. */
  get isDone(): boolean {
    return this.#state === 'done'
  }

  /** Expects the answer to a request of this method. */
  begin(method: string): void {
    this.#method = method
    this.#state = 'head'
    this.#kept = EMPTY
    this.#seen = 0
  }

  push(chunk: Buffer): void {
    let data = this.#kept.length === 0 ? chunk : Buffer.concat([this.#kept, chunk])
    this.#kept = EMPTY
    while (data.length > 0) {
      const used = this.#step(data)
      if (used === -1) {
        this.#kept = data
        return
      }
      data = used === data.length ? EMPTY : data.subarray(used)
    }
  }

  /** The upstream closed: the end of a close-delimited body, otherwise a cut answer. */
  close() {
    if (this.#state === 'close') return this.#finish([])
    if (this.#state !== 'done' && this.#state !== 'tunnel') throw new ResponseSyntaxError('the connection ended within it')
  }

  /** Consumes a piece; -1 = needs more bytes. */
  #step(data: Buffer): number {
    switch (this.#state) {
      case 'head':
        return this.#readHead(data)
      case 'fixed':
      case 'chunk-data':
        return this.#readBody(data)
      case 'close':
        this.#sink.data(data)
        return data.length
      case 'chunk-size':
        return this.#readChunkSize(data)
      case 'chunk-end':
        if (data.length < 2) return -1
        if (data.readUInt16LE(0) !== CRLF) throw new ResponseSyntaxError('a chunk is longer than it says')
        this.#state = 'chunk-size'
        return 2
      case 'trailers':
        return this.#readTrailers(data)
      default:
        throw new ResponseSyntaxError('more bytes than were asked for')
    }
  }

  #readHead(data: Buffer): number {
    assertBegins(data)
    const end = this.#endOf(data, '\r\n\r\n')
    if (end === -1) {
      if (data.length > LIMITS.requestHeaderBytes) throw new ResponseSyntaxError(TOO_LARGE)
      return -1
    }
    if (end > LIMITS.requestHeaderBytes) throw new ResponseSyntaxError(TOO_LARGE)
    const head = parseHead(data.toString('latin1', 0, end), this.#method)
    if (head.status === 101) {
      this.#state = 'tunnel'
      this.#sink.upgraded(head, data.subarray(end + 4))
      return data.length
    }
    if (head.status < 200) {
      this.#sink.information(head.status, head.rawHeaders)
      return end + 4
    }
    this.#enterBody(head)
    return end + 4
  }

  /**
   * Where the terminator stands; -1 = not there yet. What can never become valid is refused at once and not waited for: a line that ends
   * with a bare LF has no end that every reader sees.
   */
  #endOf(data: Buffer, terminator: string): number {
    const end = data.indexOf(terminator, Math.max(0, this.#seen - terminator.length))
    if (end === -1) {
      for (let at = data.indexOf(LF, this.#seen); at !== -1; at = data.indexOf(LF, at + 1)) {
        if (data[at - 1] !== CR) throw new ResponseSyntaxError('a line ends with a bare LF')
      }
    }
    this.#seen = end === -1 ? data.length : 0
    return end
  }

  #enterBody(head: ResponseHead): void {
    if (head.framing === 'chunked') this.#state = 'chunk-size'
    else if (head.framing === 'close') this.#state = 'close'
    else if (typeof head.framing === 'number' && head.framing > 0) {
      this.#state = 'fixed'
      this.#remaining = head.framing
    } else this.#state = 'done'
    const isWhole = this.#state === 'done'
    this.#sink.head(head)
    if (isWhole) this.#sink.end([])
  }

  #readBody(data: Buffer): number {
    const used = Math.min(this.#remaining, data.length)
    this.#remaining -= used
    const isWhole = this.#remaining === 0
    const isChunk = this.#state === 'chunk-data'
    this.#sink.data(used === data.length ? data : data.subarray(0, used))
    if (isWhole && isChunk) this.#state = 'chunk-end'
    else if (isWhole) this.#finish([])
    return used
  }

  #readChunkSize(data: Buffer): number {
    const end = this.#endOf(data, '\r\n')
    if (end === -1) {
      if (data.length > CHUNK_SIZE_LINE_BYTES) throw new ResponseSyntaxError('a chunk size is too long')
      return -1
    }
    const match = /^([0-9A-Fa-f]{1,12})[\t ]*(?:;[\t\x20-\x7e\x80-\xff]*)?$/.exec(data.toString('latin1', 0, end))
    if (match?.[1] === undefined || end > CHUNK_SIZE_LINE_BYTES) throw new ResponseSyntaxError('a chunk size is not a number')
    this.#remaining = Number.parseInt(match[1], 16)
    this.#isLastChunk = this.#remaining === 0
    this.#state = this.#isLastChunk ? 'trailers' : 'chunk-data'
    return end + 2
  }

  #readTrailers(data: Buffer): number {
    if (data.length < 2) return -1
    if (data.readUInt16LE(0) === CRLF) {
      this.#finish([])
      return 2
    }
    const end = this.#endOf(data, '\r\n\r\n')
    if (end === -1) {
      if (data.length > LIMITS.requestHeaderBytes) throw new ResponseSyntaxError('its trailers are too large')
      return -1
    }
    this.#finish(parseFields(data.toString('latin1', 0, end)))
    return end + 4
  }

  #finish(trailers: RawHeaders): void {
    this.#state = 'done'
    this.#sink.end(trailers)
  }
}

/** What speaks something else is told by its first bytes, long before a header ends. */
function assertBegins(data: Buffer): void {
  const length = Math.min(HTTP_1.length, data.length)
  if (HTTP_1.compare(data, 0, length, 0, length) === 0) return
  // A SETTINGS frame (RFC 9113 §6.5), and an alert (RFC 8446 §6).
  if (data.length >= 9 && data.readUInt32BE(5) === 0 && data[3] === 4) throw new ResponseSyntaxError('it speaks HTTP/2')
  if (data[0] === 0x15 && data[1] === 3) throw new ResponseSyntaxError('it speaks TLS')
  throw new ResponseSyntaxError('its status line is malformed')
}

function parseFields(text: string): string[] {
  const fields: string[] = []
  if (text === '') return fields
  for (const line of text.split('\r\n')) {
    const colon = line.indexOf(':')
    const name = line.slice(0, Math.max(0, colon))
    const value = line.slice(colon + 1).trim()
    // Also refuses a folded line, which begins with a blank, and a blank before the colon.
    if (!NAME.test(name) || BAD_VALUE.test(value)) throw new ResponseSyntaxError('a header line is malformed')
    fields.push(name, value)
  }
  return fields
}

interface Framing {
  lengths: string[]
  codings: string[]
  connection: string | undefined
  keepAliveSeconds: number | null
}

function parseHead(text: string, method: string): ResponseHead {
  const lineEnd = text.indexOf('\r\n')
  const match = STATUS_LINE.exec(lineEnd === -1 ? text : text.slice(0, lineEnd))
  if (match === null) throw new ResponseSyntaxError('its status line is malformed')
  const rawHeaders = lineEnd === -1 ? [] : parseFields(text.slice(lineEnd + 2))
  const status = Number(match[2])
  const found = findFraming(rawHeaders)
  const framing = framingOf(status, method, found)
  const tokens = found.connection?.toLowerCase() ?? ''
  const isKeepAlive = framing !== 'close' && !tokens.includes('close') && (match[1] === '1' || tokens.includes('keep-alive'))
  return {
    status,
    reason: match[3] ?? '',
    rawHeaders,
    connection: found.connection,
    keepAliveSeconds: found.keepAliveSeconds,
    framing,
    isKeepAlive,
  }
}

function findFraming(rawHeaders: RawHeaders): Framing {
  const found: Framing = { lengths: [], codings: [], connection: undefined, keepAliveSeconds: null }
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? ''
    // The four names that matter have these lengths; all others are passed over without being compared.
    if (name.length === 10 || name.length === 14 || name.length === 17) note(found, name.toLowerCase(), rawHeaders[index + 1] ?? '')
  }
  return found
}

function note(found: Framing, name: string, value: string) {
  if (name === 'connection') found.connection = found.connection === undefined ? value : `${found.connection}, ${value}`
  else if (name === 'keep-alive') found.keepAliveSeconds = keepAliveSeconds(value)
  else if (name === 'content-length') found.lengths.push(value)
  else if (name === 'transfer-encoding') found.codings.push(value)
}

function keepAliveSeconds(value: string): number | null {
  const match = /(?:^|[,\s])timeout=([0-9]{1,9})/i.exec(value)
  return match?.[1] === undefined ? null : Number(match[1])
}

function framingOf(status: number, method: string, found: Framing): ResponseHead['framing'] {
  const [coding] = found.codings
  const [length] = found.lengths
  refuseAmbiguity(found)
  if (method === 'HEAD' || status < 200 || status === 204 || status === 304) return 'none'
  if (coding !== undefined) return 'chunked'
  return length === undefined ? 'close' : Number(length)
}

function refuseAmbiguity({ lengths, codings }: Framing): void {
  if (lengths.length > 0 && codings.length > 0) throw new ResponseSyntaxError('both Content-Length and Transfer-Encoding')
  if (codings.length > 1 || codings.some((coding) => coding.toLowerCase() !== 'chunked')) {
    throw new ResponseSyntaxError('a Transfer-Encoding other than chunked')
  }
  if (lengths.length > 1 || lengths.some((length) => !/^[0-9]{1,15}$/.test(length))) {
    throw new ResponseSyntaxError('its Content-Length is ambiguous')
  }
}
