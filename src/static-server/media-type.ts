import { mimes } from 'mrmime'

/** What the table of the library lacks, and where browsers want another word. */
const MORE: Readonly<Record<string, string>> = {
  br: 'application/octet-stream',
  zst: 'application/zstd',
  ico: 'image/x-icon',
  tar: 'application/x-tar',
  tgz: 'application/gzip',
  flac: 'audio/flac',
  xml: 'application/xml',
  ts: 'video/mp2t',
  vue: 'text/plain',
  tsx: 'text/plain',
  jsx: 'text/javascript',
  scss: 'text/plain',
  toml: 'text/plain',
  log: 'text/plain',
}

/** Files that have to have a name without an extension. */
const BY_NAME: Readonly<Record<string, string>> = { 'apple-app-site-association': 'application/json' }

const IS_TEXT = /^text\/|^application\/(?:javascript|json|xml|manifest\+json|[\w.+-]+\+(?:json|xml))$|^image\/svg\+xml$/
const SNIFFED_BYTES = 512

/** By its name; null = the name says nothing. */
export function typeByName(name: string): string | null {
  const lower = name.toLowerCase()
  if (Object.hasOwn(BY_NAME, lower)) return BY_NAME[lower] ?? null
  const at = lower.lastIndexOf('.')
  if (at === -1) return null
  const extension = lower.slice(at + 1)
  const type = MORE[extension] ?? mimes[extension]
  return type === undefined ? null : type
}

/** By its beginning: text, a page, or bytes of no known kind. */
export function typeByContent(beginning: Uint8Array): string {
  const start = Buffer.from(beginning.subarray(0, SNIFFED_BYTES))
  if (start.some((byte) => byte < 9 || (byte > 13 && byte < 27) || (byte > 27 && byte < 32))) return 'application/octet-stream'
  const text = start.toString('utf8')
  if (/^\ufeff?\s*<(?:!doctype html|html)[\s>]/i.test(text)) return 'text/html'
  // Cut in the middle of a character at most.
  return text.slice(0, -4).includes('\ufffd') ? 'application/octet-stream' : 'text/plain'
}

export function withCharset(type: string): string {
  return IS_TEXT.test(type) ? `${type}; charset=utf-8` : type
}

export function isPage(name: string): boolean {
  return /\.html?$/i.test(name)
}
