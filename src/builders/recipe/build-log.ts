import { LIMITS } from '../../core/limits.ts'
import type { BuildRequest } from '../builder.ts'

const RECENT_LINES = 300

/**
 * The log of one build, bounded (I12): once `LIMITS.buildLogBytes` of output were passed on, further lines are only counted,
 * and the last ones kept, so that the end of a build that prints a gigabyte can still be read.
 */
export class BuildLog {
  readonly #onLine: BuildRequest['onLine']
  readonly #bytesMax: number
  #passed = 0
  #dropped = 0
  #droppedBytes = 0
  #tail: string[] = []

  constructor(onLine: BuildRequest['onLine'], bytesMax: number = LIMITS.buildLogBytes) {
    this.#onLine = onLine
    this.#bytesMax = bytesMax
  }

  engine(line: string): void {
    this.#onLine(line, 'engine')
  }

  /** `$ ` before the first line of what is run, `> ` before the others. */
  command(text: string): void {
    this.#tail = []
    for (const [index, line] of text.trimEnd().split('\n').entries()) this.#onLine(`${index === 0 ? '$' : '>'} ${line}`, 'command')
  }

  output(line: string): void {
    this.#tail.push(line)
    if (this.#tail.length > RECENT_LINES * 2) this.#tail = this.#tail.slice(-RECENT_LINES)
    if (this.#passed < this.#bytesMax) {
      this.#passed += line.length + 1
      this.#onLine(line, 'build')
      if (this.#passed >= this.#bytesMax)
        this.engine(`more than ${this.#bytesMax} bytes of output: what follows is left out, but for the end`)
      return
    }
    this.#dropped += 1
    this.#droppedBytes += line.length + 1
  }

  /** Ends a command: says what was left out and shows its last lines. */
  flush(): void {
    if (this.#dropped === 0) return
    const shown = this.#tail.slice(-Math.min(this.#dropped, LIMITS.errorLogTailLines))
    const dropped = this.#dropped - shown.length
    if (dropped > 0) this.engine(`… ${dropped} lines (${this.#droppedBytes} bytes) of output were dropped …`)
    for (const line of shown) this.#onLine(line, 'build')
    this.#dropped = 0
    this.#droppedBytes = 0
  }

  /** More of them: npm prints its whole usage, a hundred lines, after the one line that says what is wrong. */
  get recent(): readonly string[] {
    return this.#tail.slice(-RECENT_LINES)
  }

  /** Last lines of the present command, oldest first. */
  get tail(): readonly string[] {
    return this.#tail.slice(-LIMITS.errorLogTailLines)
  }
}
