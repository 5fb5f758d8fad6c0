import { type Stats, statSync } from 'node:fs'
import { join } from 'node:path'

export interface FoundFile {
  readonly path: string
  /** Its address in the site, `/docs/index.html`. */
  readonly address: string
  readonly stat: Stats
}

export type Found =
  | { readonly kind: 'file'; readonly file: FoundFile }
  /** The same under another address: relative links of the page hold only there. */
  | { readonly kind: 'moved'; readonly to: string }
  | { readonly kind: 'missing' }

const INDEXES = ['index.html', 'index.htm']
const PAGE_EXTENSIONS = ['.html', '.htm']
const MISSING: Found = { kind: 'missing' }

/**
 * `address` is decoded and begins with a slash. A file goes before a page of that name (`/about` → about.html), and that before a
 * directory; with a slash at its end the directory goes first.
 */
export function findFile(root: string, address: string): Found {
  if (address.endsWith('/')) {
    const index = firstFile(
      root,
      INDEXES.map((name) => address + name),
    )
    if (index !== null) return { kind: 'file', file: index }
    const plain = address.replace(/\/+$/, '')
    return plain !== '' && pageOf(root, plain) !== null ? { kind: 'moved', to: plain } : MISSING
  }
  const file = firstFile(root, [address]) ?? pageOf(root, address)
  if (file !== null) return { kind: 'file', file }
  return firstFile(
    root,
    INDEXES.map((name) => `${address}/${name}`),
  ) === null
    ? MISSING
    : { kind: 'moved', to: `${address}/` }
}

export function firstFile(root: string, addresses: readonly string[]): FoundFile | null {
  for (const address of addresses) {
    const path = join(root, address)
    const stat = fileAt(path)
    if (stat !== null) return { path, address, stat }
  }
  return null
}

function pageOf(root: string, address: string): FoundFile | null {
  return firstFile(
    root,
    PAGE_EXTENSIONS.map((extension) => address + extension),
  )
}

function fileAt(path: string): Stats | null {
  try {
    const stat = statSync(path)
    return stat.isFile() ? stat : null
  } catch {
    return null
  }
}

/**
 * The path of a request, decoded; null = it is nobody's business: it can't be decoded, hides a slash in a name, or names a file that is
 * hidden or holds the site's own rules. `.well-known` is there to be seen (RFC 8615).
 */
export function addressOf(path: string): string | null {
  let segments: string[]
  try {
    segments = path.split('/').map((segment) => decodeURIComponent(segment))
  } catch {
    return null
  }
  if (segments.some((segment) => /[/\\\0]/.test(segment) || (segment.startsWith('.') && segment !== '.well-known'))) return null
  const address = `/${segments.slice(1).join('/')}`.replace(/\/{2,}/g, '/')
  return address === '/_headers' || address === '/_redirects' ? null : address
}
