import { BoundedWork } from '../../core/bounded-work.ts'
import { compileGlob, type Glob } from '../../core/glob.ts'
import { LIMITS } from '../../core/limits.ts'
import { PathText } from '../../core/path-text.ts'
import type { PushEvent } from '../../domain/push.ts'
import type { TriggerMatch, TriggerRules } from '../../domain/trigger-decision.ts'

/**
 * What the patterns of a service's trigger say about a push. A path is watched when a pattern matches it or a directory above it, and no
 * pattern that begins with `!` does; with exclusions only, everything else is watched. Tags take the same patterns, `*` staying within `/`.
 * @throws WORK_TOO_LARGE, CONFIG_INVALID
 */
export async function matchTrigger(
  rules: Pick<TriggerRules, 'watch' | 'tags'>,
  { ref, changedPaths }: Pick<PushEvent, 'ref' | 'changedPaths'>,
  signal: AbortSignal | null = null,
): Promise<TriggerMatch> {
  const what = `trigger.watch: ${rules.watch.length} patterns against ${changedPaths?.length ?? 0} changed paths`
  const work = new BoundedWork(what, LIMITS.triggerMatchSteps, signal)
  const isTagWanted = ref.kind === 'tag' && rules.tags !== null && compileGlob(rules.tags).matches(new PathText(ref.name), work)
  return { isTagWanted, isWatched: await isAnyWatched(rules.watch, changedPaths ?? [], work) }
}

async function isAnyWatched(watch: readonly string[], paths: readonly string[], work: BoundedWork): Promise<boolean> {
  const wanted: Glob[] = []
  const unwanted: Glob[] = []
  for (const pattern of watch) {
    if (pattern.startsWith('!')) unwanted.push(compilePath(pattern.slice(1)))
    else wanted.push(compilePath(pattern))
    if (work.isDue) await work.rest()
  }
  const matchesOne = async (globs: readonly Glob[], path: PathText) => {
    for (const glob of globs) {
      if (work.isDue) await work.rest()
      if (glob.matches(path, work)) return true
    }
    return false
  }
  for (const changed of paths) {
    const path = new PathText(changed)
    if ((wanted.length === 0 || (await matchesOne(wanted, path))) && !(await matchesOne(unwanted, path))) return true
  }
  return false
}

/** The path itself and all below it. */
function compilePath(pattern: string): Glob {
  const names = pattern.split('/').filter((name) => name !== '' && name !== '.')
  return compileGlob(names.join('/'), { below: true })
}
