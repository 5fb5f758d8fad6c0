import type { Meter } from './bounded-work.ts'
import { ShiplockError } from './errors.ts'
import { compileAutomaton, type GlobAutomaton } from './glob-automaton.ts'
import { LIMITS } from './limits.ts'
import type { PathText } from './path-text.ts'

/**
 * Path patterns whose work is known before it is done, whatever they hold: patterns come from repositories (I9), and a regular expression
 * made from `*a*a*a*b` can stop the server for hours. `*` and `?` stay within a name and match dots, `**` spans names,
 * `[a-z]` and `[!a]` are classes, `\` takes the next character literally, `{a,b}` alternates (expanded, at most 64 ways).
 */
export interface Glob {
  /** The text that it matches, and nothing else; null when it has wildcards. */
  readonly literal: string | null
  matches(path: PathText, meter: Meter): boolean
  /** For how many of the first names it matches, fewest first; 0 = none of them. */
  matchingStarts(path: PathText, meter: Meter): ReadonlySet<number>
  /** The same for the last names. */
  matchingEnds(path: PathText, meter: Meter): ReadonlySet<number>
}

/** Why this pattern can't be used; null when it can. */
export function patternProblem(pattern: string): string | null {
  if (pattern.length > LIMITS.patternCharacters) return `is longer than ${LIMITS.patternCharacters} characters`
  if (expandBraces(pattern) === null)
    return `has more than ${LIMITS.patternAlternatives} alternatives, or they are longer than ${LIMITS.patternExpandedCharacters} characters`
  return null
}

export interface GlobOptions {
  /** Everything below what matches is matched too. */
  readonly below?: boolean
  /** False where a brace is a brace. Default true. */
  readonly braces?: boolean
}

/** The pattern as names, as split by `/`. No name of it may be empty; `''` is the root. @throws CONFIG_INVALID */
export function compileGlob(pattern: string, { below = false, braces = true }: GlobOptions = {}): Glob {
  const ways = pattern.length > LIMITS.patternCharacters ? null : braces ? expandBraces(pattern) : [pattern]
  if (ways === null) {
    const shown = JSON.stringify(pattern.length > SHOWN_LENGTH ? `${pattern.slice(0, SHOWN_LENGTH)}…` : pattern)
    throw new ShiplockError('CONFIG_INVALID', `the pattern ${shown} ${patternProblem(pattern)}`)
  }
  return new Alternatives(below ? ways.map((way) => (way === '' ? '**' : `${way}/**`)) : ways)
}
const SHOWN_LENGTH = 60

class Alternatives implements Glob {
  readonly literal: string | null
  readonly #forward: readonly GlobAutomaton[]
  readonly #ways: readonly string[]
  /** Made when first asked for. */
  #backward: readonly GlobAutomaton[] | null = null

  constructor(ways: readonly string[]) {
    this.#ways = ways
    this.#forward = ways.map((way) => compileAutomaton(way, 'forward'))
    this.literal = this.#forward.length === 1 ? (this.#forward[0]?.literal ?? null) : null
  }

  matches(path: PathText, meter: Meter): boolean {
    return this.#forward.some((way) => way.matches(path, meter))
  }

  matchingStarts(path: PathText, meter: Meter): ReadonlySet<number> {
    return new Set(this.#forward.flatMap((way) => way.boundaries(path.codes, meter)))
  }

  matchingEnds(path: PathText, meter: Meter): ReadonlySet<number> {
    this.#backward ??= this.#ways.map((way) => compileAutomaton(way, 'backward'))
    return new Set(this.#backward.flatMap((way) => way.boundaries(path.reversedCodes, meter)))
  }
}

/** `a{b,c}d` as `abd` and `acd`, inner braces first; braces without a comma stay as they are. Null when it is too many. */
function expandBraces(pattern: string): string[] | null {
  const done: string[] = []
  const pending = [pattern]
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const group = findGroup(next)
    if (group === null) done.push(next)
    else for (const choice of group.choices) pending.push(`${next.slice(0, group.start)}${choice}${next.slice(group.end)}`)
    if (done.length + pending.length > LIMITS.patternAlternatives) return null
    if (done.reduce((sum, way) => sum + way.length, 0) > LIMITS.patternExpandedCharacters) return null
  }
  return done
}

/** The first `{a,b}` that holds no braces itself. */
function findGroup(text: string): { readonly start: number; readonly end: number; readonly choices: readonly string[] } | null {
  let start = -1
  let commas: number[] = []
  for (let at = 0; at < text.length; at++) {
    const character = text[at]
    if (character === '\\') at += 1
    else if (character === '{') {
      start = at
      commas = []
    } else if (character === ',' && start !== -1) commas.push(at)
    else if (character === '}') {
      if (commas.length > 0) {
        const cuts = [start, ...commas, at]
        const choices = cuts.slice(1).map((end, index) => text.slice((cuts[index] ?? 0) + 1, end))
        return { start, end: at + 1, choices }
      }
      start = -1
    }
  }
  return null
}
