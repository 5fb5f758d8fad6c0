import { ShiplockError } from '../../core/errors.ts'
import { compileGlob, type Glob } from '../../core/glob.ts'
import type { IgnoreFile } from '../../core/ignore-file.ts'
import type { TreeEntry } from '../../core/walk-tree.ts'

/** One line of `build.deployFiles`, understood. */
interface DeployPattern {
  readonly text: string
  /** What stands before `~`, cut from the paths that match; null without a `~`. */
  readonly cut: Glob | null
  /** null = everything (below the cut). */
  readonly match: Glob | null
}

export interface Selection {
  /** Path in the artifact → entry of the build. Sorted by the path in the artifact. */
  readonly files: ReadonlyMap<string, TreeEntry>
  /** Patterns that matched nothing, for a warning. */
  readonly unmatched: readonly string[]
}

/**
 * What goes into the artifact, and where. A path keeps its directories (`dist` → `dist/…`), `~` cuts there (`dist/~` → the content of
 * dist at the root, `packages/api/~/dist` → `dist/…`), `.`, `./` and `**` take all. A directory stands for all that is in it. When two
 * patterns put different files at one place, the later one wins.
 */
export function selectDeployFiles(entries: readonly TreeEntry[], patterns: readonly string[], ignored: IgnoreFile | null): Selection {
  const kept = ignored === null ? entries : withoutIgnored(entries, ignored)
  const chosen = new Map<string, TreeEntry>()
  const unmatched: string[] = []
  for (const pattern of patterns.map(parsePattern)) {
    let matched = false
    for (const entry of kept) {
      const target = targetOf(pattern, entry.path.split('/'))
      if (target === null) continue
      matched = true
      refuseMixture(target, chosen.get(target), entry)
      chosen.set(target, entry)
    }
    if (!matched) unmatched.push(pattern.text)
  }
  return { files: new Map([...chosen].sort(([a], [b]) => (a < b ? -1 : 1))), unmatched }
}

/** A directory and a file can't stand at one place, and to prefer one would lose the other without a word. */
function refuseMixture(target: string, there: TreeEntry | undefined, entry: TreeEntry): void {
  if (there === undefined || (there.kind === 'directory') === (entry.kind === 'directory')) return
  throw new ShiplockError(
    'CONFIG_INVALID',
    `build.deployFiles puts both ${there.path} and ${entry.path} at ${target}; one of them is a directory`,
    {
      details: { target, paths: [there.path, entry.path] },
    },
  )
}

/** The path in the artifact, or null when the pattern does not take this path. */
function targetOf(pattern: DeployPattern, names: readonly string[]): string | null {
  if (pattern.cut === null) return takes(pattern.match, names) ? names.join('/') : null
  // The shortest cut wins, so that `**/~/x` has one meaning.
  for (let at = 0; at < names.length; at++) {
    if (!pattern.cut(names.slice(0, at))) continue
    const rest = names.slice(at)
    if (takes(pattern.match, rest)) return rest.join('/')
  }
  return null
}

/** A pattern takes a path when it matches it or a directory above it. */
function takes(match: Glob | null, names: readonly string[]): boolean {
  if (match === null) return true
  for (let end = 1; end <= names.length; end++) if (match(names.slice(0, end))) return true
  return false
}

export function parsePattern(text: string): DeployPattern {
  const names = text
    .trim()
    .split('/')
    .filter((name) => name !== '' && name !== '.')
  if (names.includes('..')) throw refused(text, 'leaves the build with `..`')
  const marks = names.filter((name) => name.startsWith('~')).length
  if (marks > 1) throw refused(text, 'has more than one `~`')
  const at = names.findIndex((name) => name.startsWith('~'))
  if (at === -1) return { text, cut: null, match: globOf(names) }
  const marked = (names[at] ?? '').slice(1)
  const after = names.slice(at + 1)
  return { text, cut: globOf(names.slice(0, at)) ?? isRoot, match: globOf(marked === '' ? after : [marked, ...after]) }
}

const isRoot: Glob = (names) => names.length === 0

function globOf(names: readonly string[]): Glob | null {
  return names.length === 0 ? null : compileGlob(names.join('/'))
}

function refused(pattern: string, reason: string): ShiplockError {
  return new ShiplockError('CONFIG_INVALID', `build.deployFiles: ${JSON.stringify(pattern)} ${reason}`, { details: { pattern } })
}

/** As in git, nothing below an ignored directory can be brought back. */
function withoutIgnored(entries: readonly TreeEntry[], rules: IgnoreFile): TreeEntry[] {
  const gone = new Set<string>()
  return entries.filter((entry) => {
    const parent = entry.path.slice(0, Math.max(0, entry.path.lastIndexOf('/')))
    if (!gone.has(parent) && rules.verdict(entry.path, entry.kind === 'directory') !== 'ignored') return true
    gone.add(entry.path)
    return false
  })
}
