import { StringDecoder } from 'node:string_decoder'
import { LIMITS } from '../../core/limits.ts'
import { printable } from '../../core/printable.ts'
import type { BuildLog } from '../recipe/build-log.ts'
import type { FailedStep } from './build-reporter.ts'

const STEP = /^Step (\d+)\/(\d+) : (.*)$/
const NOISE =
  /^\s*$|^DEPRECATED: The legacy builder|^ +(?:BuildKit is currently disabled|Install the buildx|environment-variable|https:\/\/docs\.docker)|^ ---> (?:Running in )?[0-9a-f]{12}$|^Removing intermediate container [0-9a-f]{12}$|^Sending build context to Docker daemon/
const TAIL_LINES = 200

/** As `BuildReporter`, for the output of the classic builder. A program can print its words too: here they decide about the log alone. */
export class ClassicReporter {
  readonly #log: BuildLog
  readonly #decoder = new StringDecoder('utf8')
  #rest = ''
  #step: string | null = null
  #steps = 0
  #cached = 0
  #tail: string[] = []

  constructor(log: BuildLog) {
    this.#log = log
  }

  push(chunk: Uint8Array): void {
    const lines = (this.#rest + this.#decoder.write(chunk as Buffer)).split('\n')
    const rest = lines.pop() ?? ''
    for (const line of lines) this.#line(line)
    if (rest.length > LIMITS.logLineBytes) this.#line(rest)
    this.#rest = rest.length > LIMITS.logLineBytes ? '' : rest
  }

  end(): void {
    if (this.#rest !== '') this.#line(this.#rest)
    this.#rest = ''
    this.#log.flush()
  }

  get summary(): string {
    return `${this.#steps} ${this.#steps === 1 ? 'step' : 'steps'}, ${this.#cached} from the cache`
  }

  get failure(): FailedStep {
    return { step: this.#step, reason: this.#tail.at(-1) ?? 'the build said nothing', tail: this.#tail.slice(0, -1) }
  }

  #line(raw: string): void {
    const line = printable(raw.split('\r').findLast((part) => part !== '') ?? '').slice(0, LIMITS.logLineBytes)
    const step = STEP.exec(line)
    if (step !== null) {
      this.#step = `[${step[1]}/${step[2]}] ${step[3]}`
      this.#steps += 1
      this.#tail = []
      this.#log.command(this.#step)
    } else if (line === ' ---> Using cache') {
      this.#cached += 1
      this.#log.engine('→ cached')
    } else if (!NOISE.test(line)) {
      this.#tail.push(line)
      if (this.#tail.length > TAIL_LINES) this.#tail.shift()
      this.#log.output(line)
    }
  }
}
