import { ownCookie } from './cookie-domain.ts'

/** Flat list of names and values in the order and case in which they came, as node:http's `rawHeaders`. */
export type RawHeaders = readonly string[]

/** A private header that carries the probe token; never forwarded, whatever it holds. */
export const PROBE_HEADER = 'x-shiplock-probe'
export const GENERATION_HEADER = 'x-shiplock-generation'
export const ERROR_HEADER = 'x-shiplock-error'

export interface ForwardContext {
  readonly clientAddress: string
  readonly protocol: 'http' | 'https'
  /** As the client wrote it, with its port. */
  readonly host: string
  readonly listenPort: number
}

/** How the body that follows is delimited; the edge frames each side itself, so that no reader disagrees with another (I9). */
export type BodyFraming = 'none' | 'chunked' | number

/** The tokens of one or several Connection headers, lower case. */
export function connectionTokens(value: string | undefined): readonly string[] {
  if (value === undefined || value === 'keep-alive' || value === 'close') return []
  return value
    .toLowerCase()
    .split(',')
    .map((token) => token.trim())
    .filter((token) => token !== '' && token !== 'keep-alive' && token !== 'close')
}

/**
 * Headers that belong to one connection (RFC 9110 §7.6.1), that the edge writes itself, or that only the edge may speak.
 * `x-real-ip` and `forwarded` are dropped because a client could otherwise say who it is.
 */
function isDroppedFromRequest(name: string): boolean {
  switch (name) {
    case 'host':
    case 'connection':
    case 'keep-alive':
    case 'proxy-connection':
    case 'proxy-authorization':
    case 'te':
    case 'transfer-encoding':
    case 'content-length':
    case 'upgrade':
    case 'forwarded':
    case 'x-real-ip':
    case 'x-forwarded-for':
    case 'x-forwarded-proto':
    case 'x-forwarded-host':
    case 'x-forwarded-port':
    case PROBE_HEADER:
      return true
    default:
      return false
  }
}

/**
 * What only the edge may say in the other direction, or nobody, however it is written: apps behind CGI, WSGI and Rack can't tell
 * `X_Real_IP` from `X-Real-IP`.
 */
function isForged(name: string): boolean {
  return name.includes('_') && (isDroppedFromRequest(name.replaceAll('_', '-')) || name.startsWith('x_shiplock'))
}

/** The end-to-end headers of a request with those that the edge adds, as `Name: value\r\n` lines. */
export function forwardedHeaderLines(rawHeaders: RawHeaders, connection: string | undefined, context: ForwardContext): string {
  const named = connectionTokens(connection)
  let lines = `host: ${context.host}\r\n`
  let chain = ''
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? ''
    const lower = name.toLowerCase()
    if (lower === 'x-forwarded-for') {
      chain += `${rawHeaders[index + 1]}, `
    } else if (!isDroppedFromRequest(lower) && !isForged(lower) && (named.length === 0 || !named.includes(lower))) {
      lines += `${name}: ${rawHeaders[index + 1]}\r\n`
    }
  }
  return (
    `${lines}x-forwarded-for: ${chain}${context.clientAddress}\r\nx-forwarded-proto: ${context.protocol}\r\n` +
    `x-forwarded-host: ${context.host}\r\nx-forwarded-port: ${context.listenPort}\r\n`
  )
}

/** The whole head of an upstream request, ready to be written as latin1. */
export function requestHead(method: string, path: string, headerLines: string, framing: BodyFraming, upgrade: string | null): string {
  const head = `${method} ${path} HTTP/1.1\r\n${headerLines}`
  if (upgrade !== null) return `${head}connection: upgrade\r\nupgrade: ${upgrade}\r\n\r\n`
  if (framing === 'none') return `${head}connection: keep-alive\r\n\r\n`
  if (framing === 'chunked') return `${head}connection: keep-alive\r\ntransfer-encoding: chunked\r\n\r\n`
  return `${head}connection: keep-alive\r\ncontent-length: ${framing}\r\n\r\n`
}

/** The end-to-end headers of an upstream answer. `trailer` stays only where trailers can follow; cookies stay below `cookieBase`. */
export function responseHeaders(
  rawHeaders: RawHeaders,
  connection: string | undefined,
  keepTrailer: boolean,
  cookieBase: string | null,
): string[] {
  const named = connectionTokens(connection)
  const kept: string[] = []
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? ''
    const lower = name.toLowerCase()
    if (isDroppedFromResponse(lower) || (named.length > 0 && named.includes(lower))) continue
    if (lower === 'trailer' && !keepTrailer) continue
    const value = rawHeaders[index + 1] ?? ''
    kept.push(name, lower === 'set-cookie' ? ownCookie(value, cookieBase) : value)
  }
  return kept
}

function isDroppedFromResponse(name: string): boolean {
  switch (name) {
    case 'connection':
    case 'keep-alive':
    case 'proxy-connection':
    case 'proxy-authenticate':
    case 'te':
    case 'transfer-encoding':
    case 'upgrade':
    case GENERATION_HEADER:
    case ERROR_HEADER:
      return true
    default:
      return false
  }
}

// What a trailer may never be (RFC 9110 §6.5.1): framing, routing, authentication, conditions, caching; what a header of that name may not say either.
const FORBIDDEN_TRAILERS = new Set([
  'age',
  'cache-control',
  'date',
  'expires',
  'if-match',
  'if-modified-since',
  'if-none-match',
  'if-range',
  'if-unmodified-since',
  'location',
  'max-forwards',
  'pragma',
  'range',
  'retry-after',
  'vary',
  'www-authenticate',
  'transfer-encoding',
  'content-length',
  'host',
  'connection',
  'keep-alive',
  'te',
  'trailer',
  'upgrade',
  'authorization',
  'proxy-authorization',
  'proxy-authenticate',
  'set-cookie',
  'cookie',
  'content-encoding',
  'content-type',
  'content-range',
  'expect',
])

/** Trailers that may be passed on, as pairs. */
export function safeTrailers(rawTrailers: RawHeaders): [string, string][] {
  const kept: [string, string][] = []
  for (let index = 0; index + 1 < rawTrailers.length; index += 2) {
    const name = rawTrailers[index] ?? ''
    const lower = name.toLowerCase()
    if (!isReservedTrailer(lower.replaceAll('_', '-'))) kept.push([name, rawTrailers[index + 1] ?? ''])
  }
  return kept
}

/** A reader may merge trailers into the headers: what is dropped there is dropped here, in both directions. */
function isReservedTrailer(name: string): boolean {
  return (
    FORBIDDEN_TRAILERS.has(name) ||
    isDroppedFromRequest(name) ||
    isDroppedFromResponse(name) ||
    name.startsWith('x-forwarded-') ||
    name.startsWith('x-shiplock-')
  )
}

export function isEventStream(rawHeaders: RawHeaders): boolean {
  let isEvents = false
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? ''
    // Both names have their own length; compressed events have no boundary that could be seen.
    if (name.length === 12 && name.toLowerCase() === 'content-type') isEvents = /^text\/event-stream\b/i.test(rawHeaders[index + 1] ?? '')
    else if (name.length === 16 && name.toLowerCase() === 'content-encoding') return false
  }
  return isEvents
}

export function without(headers: readonly string[], unwanted: string): string[] {
  return headers.filter((_, index) => headers[index - (index % 2)]?.toLowerCase() !== unwanted)
}

/** The 103 as it goes to the client: its links, each as the instance wrote it. Empty when there is none. */
export function earlyHints(headers: RawHeaders): string {
  let lines = ''
  for (let index = 0; index + 1 < headers.length; index += 2) {
    if ((headers[index] ?? '').toLowerCase() === 'link') lines += `${headers[index]}: ${headers[index + 1]}\r\n`
  }
  return lines === '' ? '' : `HTTP/1.1 103 Early Hints\r\n${lines}\r\n`
}
