import type { Meter } from './bounded-work.ts'
import type { PathText } from './path-text.ts'

const SLASH = 0x2f
const WORD = 32

type Single = (code: number) => boolean
type Token = { readonly kind: 'one'; readonly accepts: Single; readonly literal: number | null } | { readonly kind: 'many' }
type Part = readonly Token[] | '**'

/** Spent for a pattern that was passed over with one look for the texts that every match has. */
const LOOK_STEPS = 1

/** One way of a pattern (no alternatives), to be read along paths spelled in the same direction. */
export function compileAutomaton(way: string, direction: 'forward' | 'backward'): GlobAutomaton {
  const parts: Part[] = way === '' ? [] : way.split('/').map((name) => (name === '**' ? '**' : tokensOf(name)))
  if (direction === 'forward') return new GlobAutomaton(parts)
  return new GlobAutomaton(parts.reverse().map((part) => (part === '**' ? part : [...part].reverse())))
}

/**
 * All positions of a pattern at which a path may stand, as bits (Baeza-Yates and Gonnet, "A new approach to text searching", CACM 35:10,
 * 1992): one step for each character and each 32 characters of the pattern, whatever both hold. A position is passed by one character;
 * before some the path may stay for any number of characters, within a name (`*`) or across names (`**`).
 */
export class GlobAutomaton {
  readonly literal: string | null
  /** Begin and end that every match has, for most of the paths that do not match. */
  readonly #prefix: string
  readonly #suffix: string
  /** The longest text that every match holds. */
  readonly #run: string
  readonly #accepts: readonly Single[]
  readonly #words: number
  readonly #stayInName: Int32Array
  readonly #stayAnywhere: Int32Array
  readonly #rows = new Map<number, Int32Array>()
  #state: Int32Array
  #next: Int32Array

  constructor(parts: readonly Part[]) {
    const layout = layOut(parts)
    this.#accepts = layout.accepts
    this.#words = Math.floor(layout.accepts.length / WORD) + 1
    this.#stayInName = bits(layout.stayInName, this.#words)
    this.#stayAnywhere = bits(layout.stayAnywhere, this.#words)
    this.#state = new Int32Array(this.#words)
    this.#next = new Int32Array(this.#words)
    const { spelled } = layout
    const isLiteral = !spelled.includes(null)
    this.#prefix = spell(spelled.slice(0, isLiteral ? undefined : spelled.indexOf(null)))
    this.#suffix = spell(spelled.slice(spelled.lastIndexOf(null) + 1))
    this.#run = longestRun(spelled)
    this.literal = isLiteral && this.#prefix !== '' ? this.#prefix.slice(0, -1) : null
  }

  matches(path: PathText, meter: Meter): boolean {
    meter.spend(LOOK_STEPS)
    const { spelled } = path
    if (!spelled.startsWith(this.#prefix) || !spelled.endsWith(this.#suffix)) return false
    if (this.literal !== null) return spelled.length === this.#prefix.length
    if (this.#run !== this.#prefix && this.#run !== this.#suffix) {
      meter.spend(spelled.length)
      if (!spelled.includes(this.#run)) return false
    }
    this.#begin()
    const { codes } = path
    meter.spend(codes.length * this.#words)
    for (let at = 0; at < codes.length; at++) if (!this.#step(codes[at] ?? 0, meter)) return false
    return this.#isAccepting
  }

  /** After how many names the pattern may be over. */
  boundaries(codes: Uint32Array, meter: Meter): number[] {
    this.#begin()
    meter.spend(LOOK_STEPS + codes.length * this.#words)
    const found: number[] = this.#isAccepting ? [0] : []
    let names = 0
    for (let at = 0; at < codes.length; at++) {
      const code = codes[at] ?? 0
      if (!this.#step(code, meter)) return found
      if (code !== SLASH) continue
      names += 1
      if (this.#isAccepting) found.push(names)
    }
    return found
  }

  #begin(): void {
    this.#state.fill(0)
    this.#state[0] = 1
    this.#passAcross(this.#state)
  }

  get #isAccepting(): boolean {
    const last = this.#accepts.length
    return (((this.#state[last >>> 5] ?? 0) >>> (last & 31)) & 1) === 1
  }

  /** False when nothing can match any more. */
  #step(code: number, meter: Meter): boolean {
    const row = this.#rows.get(code) ?? this.#makeRow(code, meter)
    const stay = code === SLASH ? this.#stayAnywhere : this.#stayInName
    const state = this.#state
    const next = this.#next
    let carry = 0
    let any = 0
    for (let word = 0; word < state.length; word++) {
      const now = state[word] ?? 0
      const passed = now & (row[word] ?? 0)
      const value = (passed << 1) | carry | (now & (stay[word] ?? 0))
      carry = passed >>> 31
      next[word] = value
      any |= value
    }
    this.#state = next
    this.#next = state
    if (any === 0) return false
    if (code === SLASH) this.#passAcross(next)
    return true
  }

  /** At the beginning of a name, `**` may be over. */
  #passAcross(state: Int32Array): void {
    let carry = 0
    for (let word = 0; word < state.length; word++) {
      const across = (state[word] ?? 0) & (this.#stayAnywhere[word] ?? 0)
      state[word] = (state[word] ?? 0) | (across << 1) | carry
      carry = across >>> 31
    }
  }

  #makeRow(code: number, meter: Meter): Int32Array {
    meter.spend(this.#accepts.length)
    if (this.#rows.size >= ROWS_MAX) this.#rows.clear()
    const row = new Int32Array(this.#words)
    for (const [at, accepts] of this.#accepts.entries()) if (accepts(code)) row[at >>> 5] = (row[at >>> 5] ?? 0) | (1 << (at & 31))
    this.#rows.set(code, row)
    return row
  }
}
/** Characters that a pattern has met, and remembers. */
const ROWS_MAX = 256

interface Layout {
  readonly accepts: Single[]
  /** What stands in every match, character by character; null for a wildcard. */
  readonly spelled: (number | null)[]
  /** Positions. */
  readonly stayInName: number[]
  readonly stayAnywhere: number[]
}

function layOut(parts: readonly Part[]): Layout {
  const layout: Layout = { accepts: [], spelled: [], stayInName: [], stayAnywhere: [] }
  for (const [index, part] of parts.entries()) {
    if (part === '**') {
      if (parts[index - 1] === '**') continue
      layout.stayAnywhere.push(layout.accepts.length)
      layout.stayInName.push(layout.accepts.length)
      layout.accepts.push(never)
      layout.spelled.push(null)
      continue
    }
    for (const token of [...part, END_OF_NAME]) {
      layout.spelled.push(token.kind === 'many' ? null : token.literal)
      if (token.kind === 'many') layout.stayInName.push(layout.accepts.length)
      else layout.accepts.push(token.accepts)
    }
  }
  return layout
}

const never: Single = () => false
const END_OF_NAME: Token = { kind: 'one', accepts: (code) => code === SLASH, literal: SLASH }

function bits(places: readonly number[], words: number): Int32Array {
  const all = new Int32Array(words)
  for (const place of places) all[place >>> 5] = (all[place >>> 5] ?? 0) | (1 << (place & 31))
  return all
}

function longestRun(spelled: readonly (number | null)[]): string {
  let longest = ''
  let from = 0
  for (let at = 0; at <= spelled.length; at++) {
    if (at < spelled.length && spelled[at] !== null) continue
    const run = spell(spelled.slice(from, at))
    if (run.length > longest.length) longest = run
    from = at + 1
  }
  return longest
}

function spell(codes: readonly (number | null)[]): string {
  let text = ''
  for (const code of codes) text += String.fromCodePoint(code ?? 0)
  return text
}

function tokensOf(name: string): Token[] {
  const tokens: Token[] = []
  const characters = [...name]
  for (let at = 0; at < characters.length; at++) {
    const character = characters[at] ?? ''
    if (character === '*') {
      if (tokens.at(-1)?.kind !== 'many') tokens.push({ kind: 'many' })
    } else if (character === '?') tokens.push({ kind: 'one', accepts: (code) => code !== SLASH, literal: null })
    else if (character === '[') {
      const end = classEnd(characters, at)
      if (end === -1) tokens.push(literal('['))
      else {
        tokens.push({ kind: 'one', accepts: classOf(characters.slice(at + 1, end)), literal: null })
        at = end
      }
    } else if (character === '\\' && at + 1 < characters.length) {
      at += 1
      tokens.push(literal(characters[at] ?? ''))
    } else tokens.push(literal(character))
  }
  return tokens
}

function literal(character: string): Token {
  const wanted = character.codePointAt(0) ?? 0
  return { kind: 'one', accepts: (code) => code === wanted, literal: wanted }
}

/** A `]` right after the opening (or its `!`) is a member, not the end. */
function classEnd(characters: readonly string[], start: number): number {
  const first = characters[start + 1] === '!' || characters[start + 1] === '^' ? start + 2 : start + 1
  return characters.indexOf(']', first + 1)
}

function classOf(members: readonly string[]): Single {
  const negated = members[0] === '!' || members[0] === '^'
  const rest = (negated ? members.slice(1) : members).map((member) => member.codePointAt(0) ?? 0)
  const ranges: { readonly from: number; readonly to: number }[] = []
  for (let at = 0; at < rest.length; at++) {
    const from = rest[at] ?? 0
    if (rest[at + 1] === DASH && at + 2 < rest.length) {
      ranges.push({ from, to: rest[at + 2] ?? 0 })
      at += 2
    } else ranges.push({ from, to: from })
  }
  return (code) => code !== SLASH && ranges.some(({ from, to }) => from <= code && code <= to) !== negated
}
const DASH = 0x2d
