import { runAtOnce, runInSlices } from './bounded-work.ts'
import { LIMITS } from './limits.ts'
import { PatternAutomaton } from './pattern-automaton.ts'
import { gatherForms, SHORTEST_SECRET } from './secret-forms.ts'

const STARS = '********'
/** So much of the beginning of a secret is never shown, even if the rest did not come. */
const TELLING_LENGTH = 16

/** Replaces every known secret value in a text, in whatever form, by stars (I8). */
export interface Redactor {
  (text: string): string
  /** For the lines of one stream, in order: finds what is split across them too. */
  lines(): LineRedactor
}

/** Stars from `start` to before `end`. */
interface Mark {
  readonly start: number
  readonly end: number
}

/** The same for every string within plain data. */
export function redactAll<Data>(data: Data, redact: Redactor): Data {
  if (typeof data === 'string') return redact(data) as Data
  if (Array.isArray(data)) return data.map((item: unknown) => redactAll(item, redact)) as Data
  if (data === null || typeof data !== 'object') return data
  return Object.fromEntries(Object.entries(data).map(([key, value]) => [key, redactAll(value, redact)])) as Data
}

/** The same for lines that followed one another. */
export function redactLines(lines: readonly string[], redact: Redactor): string[] {
  const out = [...lines]
  const redactor = redact.lines()
  for (const [index, line] of lines.entries()) {
    redactor.push(line, (text) => {
      out[index] = text
    })
  }
  redactor.flush()
  return out
}

/** Line breaks count for nothing: a program may wrap what it prints, and the bound of a line may fall within a secret. */
export function createRedactor(secrets: Iterable<string>): Redactor {
  return runAtOnce(build(secrets))
}

/** For secrets whose number and length somebody else chose: others have their turn while it is made. */
export function createRedactorInSlices(secrets: Iterable<string>): Promise<Redactor> {
  return runInSlices(build(secrets))
}

function* build(secrets: Iterable<string>): Generator<void, Redactor> {
  const { forms } = yield* gatherForms([...new Set(secrets)], LIMITS.redactorUnits)
  const automaton = yield* PatternAutomaton.build(forms.map(({ form }) => units(form)))
  const redact = automaton.isEmpty ? (text: string) => text : (text: string) => redactText(automaton, text)
  return Object.assign(redact, { lines: () => new LineRedactor(automaton) })
}

function units(text: string): Uint16Array {
  const all = new Uint16Array(text.length)
  for (let at = 0; at < text.length; at++) all[at] = text.charCodeAt(at)
  return all
}

function redactText(automaton: PatternAutomaton, text: string): string {
  const marks: Mark[] = []
  // Where the nth unit that counts stands; not needed while every one does.
  const places = /[\r\n]/.test(text) ? new Int32Array(text.length) : null
  let state = 0
  let count = 0
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at)
    if (unit === LF || unit === CR) continue
    if (places !== null) places[count] = at
    count += 1
    if (state === 0 && places === null && at + 1 < text.length && !automaton.mayStart(unit, text.charCodeAt(at + 1))) continue
    state = automaton.next(state, unit)
    const length = automaton.matchLength(state)
    if (length > 0) mark(marks, places === null ? count - length : (places[count - length] ?? 0), at + 1)
  }
  return starred(text, 0, marks)
}
const LF = 10
const CR = 13

/** Marks come in the order of their ends; those that touch become one. */
function mark(marks: Mark[], start: number, end: number): void {
  let first = start
  for (let last = marks.at(-1); last !== undefined && last.end >= first; last = marks.at(-1)) {
    first = Math.min(first, last.start)
    marks.pop()
  }
  marks.push({ start: first, end })
}

/** `text` stands at `offset` of what the marks count. */
function starred(text: string, offset: number, marks: readonly Mark[]): string {
  let out = ''
  let shown = 0
  for (const { start, end } of marks) {
    const from = Math.max(start - offset, shown)
    const to = Math.min(end - offset, text.length)
    if (to <= from) continue
    out += text.slice(shown, from) + STARS
    shown = to
  }
  return shown === 0 ? text : out + text.slice(shown)
}

interface HeldLine {
  readonly text: string
  readonly offset: number
  readonly settle: (text: string) => void
}

/**
 * Redacts the lines of one stream as if no line break stood between them. A line that may end within a secret is held until the next
 * ones tell, or `flush` is called; everything else is settled at once.
 */
export class LineRedactor {
  readonly #automaton: PatternAutomaton
  #held: HeldLine[] = []
  #marks: Mark[] = []
  #state = 0
  #offset = 0

  constructor(automaton: PatternAutomaton) {
    this.#automaton = automaton
  }

  get isHolding(): boolean {
    return this.#held.length > 0
  }

  /** `settle` is called once, here or later, with the redacted line; for the lines of a stream in their order. */
  push(text: string, settle: (text: string) => void): void {
    const automaton = this.#automaton
    this.#held.push({ text, offset: this.#offset, settle })
    for (let at = 0; at < text.length; at++) {
      const unit = text.charCodeAt(at)
      if (this.#state === 0 && at + 1 < text.length && !automaton.mayStart(unit, text.charCodeAt(at + 1))) continue
      this.#state = automaton.next(this.#state, unit)
      const length = automaton.matchLength(this.#state)
      if (length > 0) mark(this.#marks, this.#offset + at + 1 - length, this.#offset + at + 1)
    }
    this.#offset += text.length
    this.#settle(this.#offset - automaton.pendingLength(this.#state))
  }

  /** Settles what is held. If the last line ends with a telling part of a secret, that part goes; the rest still will when it comes. */
  flush(): void {
    if (this.#held.length === 0) return
    const telling = this.#automaton.tellingLength(this.#state, SHORTEST_SECRET, TELLING_LENGTH)
    if (telling > 0) mark(this.#marks, this.#offset - telling, this.#offset)
    this.#settle(Number.POSITIVE_INFINITY)
  }

  /** All lines that end at or before `known` can't change any more. */
  #settle(known: number): void {
    let count = 0
    for (const { text, offset, settle } of this.#held) {
      if (offset + text.length > known) break
      settle(starred(text, offset, this.#marks))
      count += 1
    }
    if (count === 0) return
    this.#held = this.#held.slice(count)
    const rest = this.#held[0]?.offset ?? this.#offset
    this.#marks = this.#marks.filter(({ end }) => end > rest)
  }
}
