import { isIP } from 'node:net'

export interface ListenAddress {
  /** An IP address, or `localhost`. */
  readonly host: string
  /** 0 = any free port. */
  readonly port: number
}

/** `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080`, or a port alone (loopback); null when it is none of these. */
export function parseListenAddress(text: string): ListenAddress | null {
  const match = /^(?:(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.]+)):)?(\d{1,5})$/.exec(text.trim())
  if (match === null) return null
  const host = match[1] ?? match[2] ?? '127.0.0.1'
  const port = Number(match[3])
  if (port > 65_535 || (host !== 'localhost' && isIP(host) === 0) || (match[1] !== undefined && isIP(host) !== 6)) return null
  return { host, port }
}

export function formatListenAddress({ host, port }: ListenAddress): string {
  return isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`
}

export function isLoopback({ host }: ListenAddress): boolean {
  return host === 'localhost' || host === '::1' || /^127\./.test(host)
}
