import { BoundedWork } from '../../core/bounded-work.ts'
import { ShiplockError } from '../../core/errors.ts'
import { compileGlob, type Glob } from '../../core/glob.ts'
import type { IgnoreFile } from '../../core/ignore-file.ts'
import { LIMITS } from '../../core/limits.ts'
import { PathText } from '../../core/path-text.ts'
import type { TreeEntry } from '../../core/walk-tree.ts'

/** One line of `build.deployFiles`, understood. */
interface DeployPattern {
  readonly text: string
  /** What stands before `~`, cut from the paths that match; null without a `~`. */
  readonly cut: Glob | null
  /** With all that is below what it matches; null = everything (below the cut). */
  readonly match: Glob | null
}

export interface SelectOptions {
  /** The key of the configuration that refusals name, e.g. `build.deployFiles`. */
  readonly key: string
  /** What a .deployignore leaves out first. */
  readonly ignored?: IgnoreFile | null
  readonly signal: AbortSignal
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
export async function selectDeployFiles(
  entries: readonly TreeEntry[],
  patterns: readonly string[],
  options: SelectOptions,
): Promise<Selection> {
  const { key, signal } = options
  const ignored = options.ignored ?? null
  const kept = ignored === null ? entries : await withoutIgnored(entries, ignored, signal)
  const work = new BoundedWork(`${key}: ${patterns.length} patterns against ${kept.length} paths`, LIMITS.matchSteps, signal)
  const wanted: DeployPattern[] = []
  for (const pattern of patterns) {
    wanted.push(parsePattern(pattern, key))
    if (work.isDue) await work.rest()
  }
  const matched = new Set<DeployPattern>()
  const chosen = new Map<string, { readonly entry: TreeEntry; readonly rank: number }>()
  for (const entry of kept) {
    const path = new PathText(entry.path)
    for (const [rank, pattern] of wanted.entries()) {
      const target = targetOf(pattern, path, work)
      if (work.isDue) await work.rest()
      if (target === null) continue
      matched.add(pattern)
      const there = chosen.get(target)
      refuseMixture(key, target, there?.entry, entry)
      // Entries come sorted; of two for one place the one of the later pattern wins, and of one pattern the later entry.
      if (there === undefined || rank >= there.rank) chosen.set(target, { entry, rank })
    }
  }
  const files = new Map([...chosen].sort(([a], [b]) => (a < b ? -1 : 1)).map(([target, { entry }]) => [target, entry]))
  return { files, unmatched: wanted.filter((pattern) => !matched.has(pattern)).map(({ text }) => text) }
}

/** A directory and a file can't stand at one place, and to prefer one would lose the other without a word. */
function refuseMixture(key: string, target: string, there: TreeEntry | undefined, entry: TreeEntry): void {
  if (there === undefined || (there.kind === 'directory') === (entry.kind === 'directory')) return
  throw new ShiplockError('CONFIG_INVALID', `${key} puts both ${there.path} and ${entry.path} at ${target}; one of them is a directory`, {
    details: { target, paths: [there.path, entry.path] },
  })
}

/** The path in the artifact, or null when the pattern does not take this path. */
function targetOf({ cut, match }: DeployPattern, path: PathText, work: BoundedWork): string | null {
  if (cut === null) return match === null || match.matches(path, work) ? path.path : null
  const names = path.path.split('/')
  const starts = cut.matchingStarts(path, work)
  if (starts.size === 0) return null
  const ends = match?.matchingEnds(path, work) ?? null
  // The shortest cut wins, so that `**/~/x` has one meaning.
  for (let at = 0; at < names.length; at++)
    if (starts.has(at) && (ends === null || ends.has(names.length - at))) return names.slice(at).join('/')
  return null
}

function parsePattern(text: string, key: string): DeployPattern {
  const names = text
    .trim()
    .split('/')
    .filter((name) => name !== '' && name !== '.')
  if (names.includes('..')) throw refused(key, text, 'leaves the build with `..`')
  const marks = names.filter((name) => name.startsWith('~')).length
  if (marks > 1) throw refused(key, text, 'has more than one `~`')
  const at = names.findIndex((name) => name.startsWith('~'))
  if (at === -1) return { text, cut: null, match: globOf(names) }
  const marked = (names[at] ?? '').slice(1)
  const after = names.slice(at + 1)
  return { text, cut: compileGlob(names.slice(0, at).join('/')), match: globOf(marked === '' ? after : [marked, ...after]) }
}

/** A pattern takes a path when it matches it or a directory above it. */
function globOf(names: readonly string[]): Glob | null {
  return names.length === 0 ? null : compileGlob(names.join('/'), { below: true })
}

function refused(key: string, pattern: string, reason: string): ShiplockError {
  return new ShiplockError('CONFIG_INVALID', `${key}: ${JSON.stringify(pattern)} ${reason}`, { details: { pattern } })
}

/** As in git, nothing below an ignored directory can be brought back. */
async function withoutIgnored(entries: readonly TreeEntry[], rules: IgnoreFile, signal: AbortSignal): Promise<TreeEntry[]> {
  const work = new BoundedWork(`${rules.summary} against ${entries.length} paths`, LIMITS.matchSteps, signal)
  const gone = new Set<string>()
  const kept: TreeEntry[] = []
  for (const entry of entries) {
    const parent = entry.path.slice(0, Math.max(0, entry.path.lastIndexOf('/')))
    if (!gone.has(parent) && (await rules.verdict(entry.path, entry.kind === 'directory', work)) !== 'ignored') kept.push(entry)
    else gone.add(entry.path)
    if (work.isDue) await work.rest()
  }
  return kept
}
