/**
 * `/blog/*`, `/users/:id`: what `_redirects` and `_headers` name paths by. Compared segment by segment, never by a regular expression, so
 * that no pattern makes a path expensive.
 */
export interface PathPattern {
  readonly segments: readonly string[]
  /** A `*` at the end takes the rest, which may be nothing. */
  readonly takesRest: boolean
}

/** What the named parts hold; the rest is called `splat`. Percent-encoded as in the request. */
export type Captured = Readonly<Record<string, string>>

/** Null = not a pattern that is understood: a `*` in its middle. */
export function parsePattern(text: string): PathPattern | null {
  if (!text.startsWith('/')) return null
  const segments = segmentsOf(text)
  const takesRest = segments.at(-1) === '*'
  const fixed = takesRest ? segments.slice(0, -1) : segments
  return fixed.some((segment) => segment.includes('*')) ? null : { segments: fixed, takesRest }
}

/** `path` without its query. Slashes at the end are of no account, as in Netlify's rules. */
export function matchPath(pattern: PathPattern, path: string): Captured | null {
  const segments = segmentsOf(path)
  if (segments.length < pattern.segments.length) return null
  if (segments.length > pattern.segments.length && !pattern.takesRest) return null
  const captured: Record<string, string> = {}
  for (const [index, wanted] of pattern.segments.entries()) {
    const given = segments[index] ?? ''
    if (isPlaceholder(wanted)) captured[wanted.slice(1)] = given
    else if (wanted !== given && wanted !== decoded(given)) return null
  }
  if (pattern.takesRest) captured.splat = segments.slice(pattern.segments.length).join('/')
  return captured
}

/** The target with `:splat` and the like filled in; a name that the pattern doesn't know stays as it is. */
export function fillIn(target: string, captured: Captured): string {
  return target.replace(/:([A-Za-z]\w*)/g, (whole, name: string) => (Object.hasOwn(captured, name) ? (captured[name] ?? '') : whole))
}

function isPlaceholder(segment: string): boolean {
  return /^:[A-Za-z]\w*$/.test(segment)
}

function segmentsOf(path: string): string[] {
  return path.split('/').filter((segment) => segment !== '')
}

function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment)
  } catch {
    return segment
  }
}
