import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Captured, matchPath, type PathPattern, parsePattern } from './path-pattern.ts'
import { readHeadersFile } from './rules-headers.ts'
import { readRedirectsFile } from './rules-redirects.ts'
import type { SiteOptions } from './site-options.ts'

/** Files of rules are the site's own and read at its start: larger ones are left alone, and so are the rules above the bound. */
const FILE_BYTES_MAX = 512 * 1024
export const RULES_MAX = 2000

export interface Redirect {
  readonly pattern: PathPattern
  readonly to: string
  readonly status: number
  readonly force: boolean
}

interface HeaderRule {
  readonly pattern: PathPattern
  readonly values: Readonly<Record<string, string>>
}

export interface SiteRules {
  readonly redirects: readonly Redirect[]
  readonly headers: readonly HeaderRule[]
  /** What stands there and is not taken over, in sentences. */
  readonly notes: readonly string[]
}

/** Of the configuration first, then those of the site's `_redirects` and `_headers`. The first redirect that fits is the one. */
export function readSiteRules(root: string, options: SiteOptions): SiteRules {
  const notes: string[] = []
  const redirectsFile = readRules(root, '_redirects', notes)
  const headersFile = readRules(root, '_headers', notes)
  const redirects = [...options.redirects, ...(redirectsFile === null ? [] : readRedirectsFile(redirectsFile, notes))]
  const headers = [...(headersFile === null ? [] : readHeadersFile(headersFile, notes)), ...options.headers]
  return {
    redirects: redirects.slice(0, RULES_MAX).flatMap(({ from, ...rest }) => withPattern(from, rest, notes)),
    headers: headers.slice(0, RULES_MAX).flatMap((rule) => withPattern(rule.for, { values: rule.values }, notes)),
    notes: [
      ...notes,
      ...(redirects.length > RULES_MAX ? [`only the first ${RULES_MAX} redirects are taken over`] : []),
      ...(headers.length > RULES_MAX ? [`only the first ${RULES_MAX} rules of headers are taken over`] : []),
    ],
  }
}

export function findRedirect(rules: SiteRules, path: string, isForced: boolean): { redirect: Redirect; captured: Captured } | null {
  for (const redirect of rules.redirects) {
    if (redirect.force !== isForced) continue
    const captured = matchPath(redirect.pattern, path)
    if (captured !== null) return { redirect, captured }
  }
  return null
}

/** All that fit; later ones win, so that those of the configuration do. */
export function headersFor(rules: SiteRules, path: string): Readonly<Record<string, string>> {
  const found: Record<string, string> = {}
  for (const { pattern, values } of rules.headers)
    if (matchPath(pattern, path) !== null) for (const [name, value] of Object.entries(values)) found[name.toLowerCase()] = value
  return found
}

function withPattern<T extends object>(from: string, rest: T, notes: string[]): (T & { pattern: PathPattern })[] {
  const pattern = parsePattern(from)
  if (pattern === null) notes.push(`the path ${from.slice(0, 200)} is not taken over: only a * at its end is understood`)
  return pattern === null ? [] : [{ ...rest, pattern }]
}

/** Null = there is none, or none that is read. */
function readRules(root: string, name: string, notes: string[]): string | null {
  let file: number
  try {
    file = openSync(join(root, name), 'r')
  } catch {
    return null
  }
  try {
    const stat = fstatSync(file)
    if (!stat.isFile()) return null
    if (stat.size <= FILE_BYTES_MAX) return readFileSync(file, 'utf8')
    notes.push(`${name} is larger than ${FILE_BYTES_MAX} bytes: nothing of it is taken over`)
    return null
  } finally {
    closeSync(file)
  }
}
