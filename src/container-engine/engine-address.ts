import { statSync } from 'node:fs'
import { isAbsolute } from 'node:path'

export type EngineAddress =
  | { readonly kind: 'unix'; readonly path: string; readonly text: string }
  | { readonly kind: 'tcp'; readonly origin: string; readonly text: string }

/** `unix:///path`, an absolute path, or `tcp://host:port`; otherwise what is wrong, as the end of a sentence. */
export function parseEngineAddress(text: string): EngineAddress | { readonly problem: string } {
  const path = text.startsWith('unix://') ? text.slice('unix://'.length) : text
  if (isAbsolute(path) && !path.includes('\0')) return { kind: 'unix', path, text: `unix://${path}` }
  if (text.startsWith('ssh://'))
    return { problem: 'names ssh, which is not spoken here; forward the socket (ssh -L /path:/path) and name that' }
  const url = /^(tcp|http):\/\//.test(text) && URL.canParse(text.replace(/^tcp:/, 'http:')) ? new URL(text.replace(/^tcp:/, 'http:')) : null
  if (url === null || url.hostname === '' || url.username !== '' || (url.pathname !== '/' && url.pathname !== ''))
    return { problem: 'must be unix:///path or tcp://host:port' }
  return { kind: 'tcp', origin: `http://${url.hostname}:${url.port === '' ? '2375' : url.port}`, text: `tcp://${url.host}` }
}

/** The first address that may have an engine: tcp ones are believed, sockets must exist. null = none. */
export function findEngine(candidates: readonly string[]): EngineAddress | null {
  for (const candidate of candidates) {
    const address = parseEngineAddress(candidate)
    if ('problem' in address) continue
    if (address.kind === 'tcp' || isSocket(address.path)) return address
  }
  return null
}

function isSocket(path: string): boolean {
  try {
    return statSync(path).isSocket()
  } catch {
    return false
  }
}
