import { Pace, runInSlices } from '../core/bounded-work.ts'
import { LIMITS } from '../core/limits.ts'
import { PatternAutomaton } from '../core/pattern-automaton.ts'
import { gatherForms } from '../core/secret-forms.ts'
import type { LeakRequest } from './leak-scanner.ts'

/** Shorter values stand in files by chance. */
const SHORTEST = 8
/** Of a value of several lines these are telling alone: the body of a key, not its head or a line of JSON that others have too. */
const TELLING_LINE = /^[A-Za-z0-9+/=_-]{32,}$/
const LF = 10
const CR = 13

/** Finds secrets in bytes, in every form in which a file may hold them; line breaks count for nothing. */
export class LeakMatcher {
  readonly #automaton: PatternAutomaton
  /** Of each pattern. */
  readonly #names: readonly string[]
  /** False when there were more and longer secrets than are looked for at once. */
  readonly isComplete: boolean

  private constructor(automaton: PatternAutomaton, names: readonly string[], isComplete: boolean) {
    this.#automaton = automaton
    this.#names = names
    this.isComplete = isComplete
  }

  /** Others have their turn while it is made. */
  static make(secrets: LeakRequest['secrets'], signal: AbortSignal | null = null): Promise<LeakMatcher> {
    return runInSlices(LeakMatcher.#build(secrets), new Pace(signal))
  }

  static *#build(secrets: LeakRequest['secrets']): Generator<void, LeakMatcher> {
    const long = secrets.filter(({ value }) => value.trim().length >= SHORTEST)
    const values = long.map(({ value }) => value)
    const { forms, isComplete } = yield* gatherForms(values, LIMITS.redactorUnits, (line) => TELLING_LINE.test(line))
    const patterns = forms.map(({ form, of }) => ({ bytes: Buffer.from(form), name: long[of]?.name ?? '' }))
    const fitting = patterns.filter(({ bytes }) => bytes.length >= SHORTEST)
    const automaton = yield* PatternAutomaton.build(fitting.map(({ bytes }) => bytes))
    const names = fitting.map(({ name }) => name)
    return new LeakMatcher(automaton, names, isComplete)
  }

  /** No secret is long enough to be told from anything else. */
  get isEmpty(): boolean {
    return this.#automaton.isEmpty
  }

  /** For one file, in chunks of any size. */
  file(): FileMatcher {
    return new FileMatcher(this.#automaton, this.#names)
  }
}

class FileMatcher {
  readonly #automaton: PatternAutomaton
  readonly #patternNames: readonly string[]
  readonly #found = new Set<string>()
  #state = 0

  constructor(automaton: PatternAutomaton, names: readonly string[]) {
    this.#automaton = automaton
    this.#patternNames = names
  }

  push(chunk: Uint8Array): void {
    const automaton = this.#automaton
    let state = this.#state
    for (let at = 0; at < chunk.length; at++) {
      const byte = chunk[at] ?? 0
      if (byte === LF || byte === CR) continue
      if (state === 0) {
        const following = chunk[at + 1]
        if (following !== undefined && following !== LF && following !== CR && !automaton.mayStart(byte, following)) continue
      }
      state = automaton.next(state, byte)
      if (state !== 0 && automaton.matchLength(state) > 0) this.#keep(state)
    }
    this.#state = state
  }

  /** Names of the secrets that the file holds. */
  get names(): readonly string[] {
    return [...this.#found].sort()
  }

  #keep(state: number): void {
    for (const pattern of this.#automaton.matches(state)) {
      const name = this.#patternNames[pattern]
      if (name !== undefined) this.#found.add(name)
    }
  }
}
