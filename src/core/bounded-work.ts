import { ShiplockError } from './errors.ts'
import { LIMITS } from './limits.ts'

/** What a matcher spends its steps from. Every matcher that meets foreign text asks for one, so that none is unbounded by oversight. */
export interface Meter {
  /** @throws WORK_TOO_LARGE when the bound is passed. */
  spend(steps: number): void
}

/**
 * Shares the event loop: a long loop over foreign things looks at `isDue` after each of them and rests when it has held the others up for
 * long enough. `if (pace.isDue) await pace.rest()` costs a look at the clock.
 */
export class Pace {
  readonly #signal: AbortSignal | null
  #began = performance.now()

  constructor(signal: AbortSignal | null = null) {
    this.#signal = signal
  }

  get isDue(): boolean {
    return performance.now() - this.#began >= LIMITS.sliceMs
  }

  /** Until everybody else had a turn. @throws the reason when the signal says to stop */
  async rest(): Promise<void> {
    await nextTurn()
    this.#signal?.throwIfAborted()
    this.#began = performance.now()
  }
}

/** Does to the end what pauses by itself from time to time. */
export function runAtOnce<Result>(work: Generator<void, Result>): Result {
  for (;;) {
    const step = work.next()
    if (step.done === true) return step.value
  }
}

/** The same, and others have their turn at its pauses. */
export async function runInSlices<Result>(work: Generator<void, Result>, pace: Pace = new Pace()): Promise<Result> {
  for (;;) {
    const step = work.next()
    if (step.done === true) return step.value
    if (pace.isDue) await pace.rest()
  }
}

/** A pace with a bound on the whole: fails with a sentence instead of going on, the same wherever it begins anew. */
export class BoundedWork extends Pace implements Meter {
  readonly #what: string
  readonly #stepsMax: number
  #left: number

  /** `what` is told when it is too much: `.deployignore: 4000 rules against 600 names`. */
  constructor(what: string, stepsMax: number, signal: AbortSignal | null = null) {
    super(signal)
    this.#what = what
    this.#stepsMax = stepsMax
    this.#left = stepsMax
  }

  spend(steps: number): void {
    this.#left -= steps
    if (this.#left >= 0) return
    throw new ShiplockError('WORK_TOO_LARGE', `${this.#what} is more work than the bound of ${this.#stepsMax} steps`, {
      details: { stepsMax: this.#stepsMax },
    })
  }
}

const waiting: (() => void)[] = []

/** One resumes in each round of the event loop: several long pieces of work together hold it no longer than one. */
function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    waiting.push(resolve)
    if (waiting.length === 1) setImmediate(resumeOne)
  })
}

function resumeOne(): void {
  waiting.shift()?.()
  if (waiting.length > 0) setImmediate(resumeOne)
}
