import { isIP } from 'node:net'
import { ShiplockError } from '../core/errors.ts'
import type { TokenRecord } from '../store/sql/tokens.ts'

/** Who asks. */
export interface Actor {
  readonly tokenId: string
  /** The member whose token it is, or the name of the token. */
  readonly name: string
  /** Of the client, as the API sees it. */
  readonly address: string | null
}

const BEARER = /^Bearer +([!-~]{1,512}) *$/i

/** What the header holds; throws UNAUTHORIZED when that is no token at all. */
export function readBearer(header: string | undefined): string {
  if (header === undefined) throw new ShiplockError('UNAUTHORIZED', 'no token was given')
  const token = BEARER.exec(header)?.[1]
  if (token === undefined) throw new ShiplockError('UNAUTHORIZED', 'the Authorization header is not `Bearer <token>`')
  return token
}

/** Throws UNAUTHORIZED unless it counts now. */
export function assertCounts(found: TokenRecord | null): TokenRecord {
  if (found === null) throw new ShiplockError('UNAUTHORIZED', 'the token is not known here')
  if (found.revokedAt !== null) throw new ShiplockError('UNAUTHORIZED', 'the token was revoked')
  if (found.isExpired) {
    throw new ShiplockError('UNAUTHORIZED', `the token expired at ${found.expiresAt}`, {
      hint: 'Ask an owner of the project for a new one.',
    })
  }
  return found
}

/**
 * Refuses what a web page could make a browser send to a loopback server: a Host that some name server resolves to us (DNS rebinding),
 * or an Origin that is not this server itself.
 */
export function assertTrustedHost(
  headers: { readonly host: string | undefined; readonly origin: string | undefined },
  allowed: readonly string[],
): void {
  const hostname = hostnameOf(headers.host)
  if (hostname === null || !isTrusted(hostname, allowed)) {
    throw new ShiplockError('FORBIDDEN', 'the Host header does not name this server', {
      hint: 'Call the API by its address, by localhost, or by a host name of the server settings.',
    })
  }
  if (headers.origin !== undefined && !isSameOrigin(headers.origin, headers.host)) {
    throw new ShiplockError('FORBIDDEN', 'requests from other web origins are refused', {
      hint: 'Call the API from a program, not from a web page.',
    })
  }
}

function hostnameOf(host: string | undefined): string | null {
  if (host === undefined || !/^[A-Za-z0-9.\-_[\]:]{1,255}$/.test(host) || !URL.canParse(`http://${host}`)) return null
  return new URL(`http://${host}`).hostname.toLowerCase()
}

function isTrusted(hostname: string, allowed: readonly string[]): boolean {
  const address = hostname.replace(/^\[|\]$/g, '')
  return hostname === 'localhost' || hostname.endsWith('.localhost') || isIP(address) !== 0 || allowed.includes(hostname)
}

function isSameOrigin(origin: string, host: string | undefined): boolean {
  return URL.canParse(origin) && new URL(origin).host === host?.toLowerCase()
}
