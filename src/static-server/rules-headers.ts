import { validateHeaderName, validateHeaderValue } from 'node:http'
import type { HeadersOption } from './site-options.ts'

/** They say how the answer is framed and encoded, which is decided here; the rest of the names a site may set. */
const NOT_THEIRS = new Set([
  'connection',
  'content-encoding',
  'content-length',
  'content-range',
  'date',
  'keep-alive',
  'trailer',
  'transfer-encoding',
  'upgrade',
])

/** Netlify's `_headers`: a path, then indented lines `Name: value`. A name that is given twice is joined by a comma. */
export function readHeadersFile(text: string, notes: string[]): HeadersOption[] {
  const found: { for: string; values: Record<string, string> }[] = []
  for (const [index, line] of text
    .replace(/^\ufeff/, '')
    .split(/\r?\n/)
    .entries()) {
    const trimmed = line.trim()
    if (trimmed === '' || trimmed.startsWith('#')) continue
    if (trimmed.startsWith('/') && !/^\s/.test(line)) {
      found.push({ for: trimmed, values: {} })
      continue
    }
    const problem = addHeader(found.at(-1)?.values, trimmed)
    if (problem !== null) notes.push(`_headers:${index + 1} is not taken over: ${problem}`)
  }
  return found
}

function addHeader(values: Record<string, string> | undefined, line: string): string | null {
  const at = line.indexOf(':')
  if (values === undefined || at < 1) return 'it is neither a path nor Name: value below one'
  const name = line.slice(0, at).trim().toLowerCase()
  const value = line.slice(at + 1).trim()
  if (name === 'basic-auth') return 'Basic-Auth does not protect anything here. Put the check into an app, or before the server'
  if (NOT_THEIRS.has(name)) return `${name} is set by the server`
  if (!isHeader(name, value)) return 'its name or value can not be sent as a header'
  values[name] = Object.hasOwn(values, name) ? `${values[name]}, ${value}` : value
  return null
}

function isHeader(name: string, value: string): boolean {
  try {
    validateHeaderName(name)
    validateHeaderValue(name, value)
    return true
  } catch {
    return false
  }
}
