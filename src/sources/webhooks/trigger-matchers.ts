import { compileGlob } from '../../core/glob.ts'
import type { TriggerMatchers, TriggerRules } from '../../domain/trigger-decision.ts'

/**
 * The patterns of a service's trigger as functions. A path is watched when a pattern matches it or a directory above it, and no pattern
 * that begins with `!` does; with exclusions only, everything else is watched. Tags take the same patterns, `*` staying within `/`.
 * Matching takes linear time whatever pattern and path hold.
 */
export function compileTrigger(rules: Pick<TriggerRules, 'watch' | 'tags'>): TriggerMatchers {
  const wanted = rules.watch.filter((pattern) => !pattern.startsWith('!')).map(compilePath)
  const unwanted = rules.watch.filter((pattern) => pattern.startsWith('!')).map((pattern) => compilePath(pattern.slice(1)))
  const tag = rules.tags === null ? null : compileGlob(rules.tags)
  return {
    isWatched: (path) => {
      const names = path.split('/')
      const matches = (glob: (names: readonly string[]) => boolean) => glob(names)
      return (wanted.length === 0 || wanted.some(matches)) && !unwanted.some(matches)
    },
    isTagWanted: (name) => tag?.(name.split('/')) ?? false,
  }
}

/** `a/**` matches `a` too, so a pattern followed by `**` matches the path itself and all below it. */
function compilePath(pattern: string) {
  const names = pattern.split('/').filter((name) => name !== '' && name !== '.')
  return compileGlob([...names, '**'].join('/'))
}
