/**
 * Path patterns in time linear in pattern × path, whatever they hold: patterns come from repositories (I9), and a regular expression
 * made from `*a*a*a*b` can stop the server for hours. `*` and `?` stay within a name and match dots, `**` spans names,
 * `[a-z]` and `[!a]` are classes, `\` takes the next character literally, `{a,b}` alternates (expanded, at most 64 ways).
 */
export type Glob = (names: readonly string[]) => boolean

const ALTERNATIVES_MAX = 64

type Token = { readonly kind: 'one'; readonly accepts: (character: string) => boolean } | { readonly kind: 'many' }
type Part = readonly Token[] | '**'

/** The pattern as names, as split by `/`. No name of it may be empty. */
export function compileGlob(pattern: string): Glob {
  const ways = expandBraces(pattern).map((way) => way.split('/').map(compileName))
  return (names) => ways.some((parts) => matchParts(parts, names))
}

/** `a{b,c}d` as `abd` and `acd`; braces without a comma stay as they are. */
function expandBraces(pattern: string): string[] {
  const done: string[] = []
  const pending = [pattern]
  for (let next = pending.pop(); next !== undefined && done.length + pending.length < ALTERNATIVES_MAX; next = pending.pop()) {
    const match = /^((?:[^\\{]|\\[\s\S])*?)\{((?:[^\\{},]|\\[\s\S])*(?:,(?:[^\\{},]|\\[\s\S])*)+)\}([\s\S]*)$/.exec(next)
    if (match === null) {
      done.push(next)
      continue
    }
    const [, before = '', choices = '', after = ''] = match
    for (const choice of choices.split(',')) pending.push(`${before}${choice}${after}`)
  }
  return done
}

function compileName(name: string): Part {
  if (name === '**') return '**'
  const tokens: Token[] = []
  const characters = [...name]
  for (let at = 0; at < characters.length; at++) {
    const character = characters[at] ?? ''
    if (character === '*') {
      if (tokens.at(-1)?.kind !== 'many') tokens.push({ kind: 'many' })
    } else if (character === '?') tokens.push({ kind: 'one', accepts: () => true })
    else if (character === '[') {
      const end = classEnd(characters, at)
      if (end === -1) tokens.push(literal('['))
      else {
        tokens.push({ kind: 'one', accepts: compileClass(characters.slice(at + 1, end)) })
        at = end
      }
    } else if (character === '\\' && at + 1 < characters.length) {
      at += 1
      tokens.push(literal(characters[at] ?? ''))
    } else tokens.push(literal(character))
  }
  return tokens
}

function literal(wanted: string): Token {
  return { kind: 'one', accepts: (character) => character === wanted }
}

/** A `]` right after the opening (or its `!`) is a member, not the end. */
function classEnd(characters: readonly string[], start: number): number {
  const first = characters[start + 1] === '!' || characters[start + 1] === '^' ? start + 2 : start + 1
  return characters.indexOf(']', first + 1)
}

function compileClass(members: readonly string[]): (character: string) => boolean {
  const negated = members[0] === '!' || members[0] === '^'
  const rest = negated ? members.slice(1) : members
  const ranges: { readonly from: string; readonly to: string }[] = []
  for (let at = 0; at < rest.length; at++) {
    const from = rest[at] ?? ''
    if (rest[at + 1] === '-' && at + 2 < rest.length) {
      ranges.push({ from, to: rest[at + 2] ?? '' })
      at += 2
    } else ranges.push({ from, to: from })
  }
  return (character) => ranges.some(({ from, to }) => from <= character && character <= to) !== negated
}

/** Which prefixes of `parts` match which prefixes of `names`, row by row: no backtracking. */
function matchParts(parts: readonly Part[], names: readonly string[]): boolean {
  let reached = new Array<boolean>(names.length + 1).fill(false)
  reached[0] = true
  for (const part of parts) {
    const next = new Array<boolean>(names.length + 1).fill(false)
    if (part === '**') {
      let any = false
      for (let at = 0; at <= names.length; at++) {
        any ||= reached[at] === true
        next[at] = any
      }
    } else {
      for (let at = 0; at < names.length; at++) if (reached[at] === true && matchName(part, names[at] ?? '')) next[at + 1] = true
    }
    reached = next
  }
  return reached[names.length] === true
}

/** The usual two pointers: a mismatch returns to the last `*` only, so the time is at most tokens × characters. */
function matchName(tokens: readonly Token[], name: string): boolean {
  const characters = [...name]
  let token = 0
  let at = 0
  let star = -1
  let starAt = 0
  while (at < characters.length) {
    const current = tokens[token]
    if (current?.kind === 'one' && current.accepts(characters[at] ?? '')) {
      token += 1
      at += 1
    } else if (current?.kind === 'many') {
      star = token
      starAt = at
      token += 1
    } else if (star !== -1) {
      token = star + 1
      starAt += 1
      at = starAt
    } else return false
  }
  while (tokens[token]?.kind === 'many') token += 1
  return token === tokens.length
}
