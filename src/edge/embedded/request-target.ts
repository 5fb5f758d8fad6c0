/** Where a request wants to go, in the form that routes are looked up by. */
export interface RequestTarget {
  /** Lower case, no port, no trailing dot. */
  readonly host: string
  /** The Host header as it came. */
  readonly authority: string
  /** Origin form (`/path?query`) or `*`. */
  readonly path: string
}

const AUTHORITY = /^([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{1,5}))?$/

/**
 * Reads Host and request target strictly: a request that two readers could understand differently is refused (null), never guessed at.
 * Absolute form is accepted only when it names the same authority as Host.
 */
export function readRequestTarget(url: string, hostHeader: string | undefined): RequestTarget | null {
  if (hostHeader === undefined) return null
  const match = AUTHORITY.exec(hostHeader)
  const name = match?.[1]
  if (name === undefined) return null
  let host = name.toLowerCase()
  if (host.endsWith('.')) host = host.slice(0, -1)
  const path = originForm(url, hostHeader)
  return path === null ? null : { host, authority: hostHeader, path }
}

function originForm(url: string, hostHeader: string): string | null {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: neither they nor a fragment belong into a request target
  if (/[#\u0000-\u0020\u007f]/.test(url)) return null
  if (url.charCodeAt(0) === 47 || url === '*') return url
  const absolute = /^https?:\/\/([^/?]+)(.*)$/i.exec(url)
  if (absolute === null || absolute[1]?.toLowerCase() !== hostHeader.toLowerCase()) return null
  const rest = absolute[2] ?? ''
  return rest.startsWith('/') ? rest : `/${rest}`
}
