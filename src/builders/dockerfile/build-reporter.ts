import type { BuildLog } from '../recipe/build-log.ts'
import { type ProgressItem, ProgressParser } from './progress-parser.ts'

interface Step {
  readonly name: string
  /** Of BuildKit's own: `[internal] load build context`, `exporting to image`. They are told in one line, if at all. */
  readonly isInternal: boolean
  readonly tail: string[]
}

export interface FailedStep {
  /** `[2/3] RUN npm ci`; null when it failed before or after all steps. */
  readonly step: string | null
  /** BuildKit's own words. */
  readonly reason: string
  /** What the step printed last, oldest first. */
  readonly tail: readonly string[]
}

const TAIL_LINES = 200
const NOTES = 40
const SHOWN_STATUS = /^(transferring context|naming to|writing image)\b/

/** Turns the progress of BuildKit into lines of the build log: steps as commands, their output, how long each took or that it was cached. */
export class BuildReporter {
  readonly #log: BuildLog
  readonly #parser = new ProgressParser((item) => this.#take(item))
  readonly #steps = new Map<number, Step>()
  readonly #notes: string[] = []
  #shown: number | null = null
  #failed: { readonly step: number; readonly text: string } | null = null
  #worked = 0
  #cached = 0
  #summary = false

  constructor(log: BuildLog) {
    this.#log = log
  }

  push(chunk: Uint8Array): void {
    this.#parser.push(chunk)
  }

  end(): void {
    this.#parser.end()
    this.#log.flush()
  }

  /** `7 steps, 3 of them from the cache`. */
  get summary(): string {
    const steps = this.#worked + this.#cached
    return `${steps} ${steps === 1 ? 'step' : 'steps'}, ${this.#cached} from the cache`
  }

  /** What is known about the end of a build that failed. */
  get failure(): FailedStep {
    const last = this.#notes.findLast((note) => !note.startsWith(' > ') && !/^\s*\d+ \|/.test(note))
    const said = last
      ?.replace(/^ERROR:? /, '')
      .replace(/^(?:failed to solve(?: with frontend \S+)?: |failed to create LLB definition: )+/, '')
    const failed = this.#failed === null ? null : this.#steps.get(this.#failed.step)
    if (failed === null || failed === undefined)
      return { step: null, reason: said ?? 'the build said nothing', tail: this.#notes.slice(-TAIL_LINES) }
    return { step: failed.name, reason: this.#failed?.text || (said ?? ''), tail: failed.tail }
  }

  #take(item: ProgressItem): void {
    if (item.kind === 'note') {
      this.#note(item.text)
      return
    }
    if (item.kind === 'step') {
      // `#0 building with "default" instance` and `[auth]` are no steps of the Dockerfile either.
      const isInternal = !/^\[(?!internal\]|auth\])/.test(item.name)
      this.#steps.set(item.step, { name: item.name, isInternal, tail: [] })
      return
    }
    const step = this.#steps.get(item.step)
    if (step !== undefined) this.#tell(item, step)
  }

  #tell(item: Exclude<ProgressItem, { kind: 'note' | 'step' }>, step: Step): void {
    switch (item.kind) {
      case 'output':
        step.tail.push(item.text)
        if (step.tail.length > TAIL_LINES) step.tail.shift()
        this.#show(item.step, step)
        this.#log.output(item.text)
        return
      case 'status':
        if (SHOWN_STATUS.test(item.text) && item.text.endsWith('done')) this.#log.engine(item.text)
        return
      case 'error':
        this.#failed ??= { step: item.step, text: item.text }
        this.#show(item.step, step)
        this.#log.engine(`→ failed: ${item.text}`)
        return
      case 'end':
        this.#end(item, step)
    }
  }

  #end({ step: number, how, seconds }: Extract<ProgressItem, { kind: 'end' }>, step: Step): void {
    if (step.isInternal) return
    if (how === 'cached') {
      this.#cached += 1
      this.#log.engine(`${step.name} → cached`)
      return
    }
    if (how === 'done') this.#worked += 1
    this.#show(number, step)
    this.#log.engine(how === 'done' ? `→ done in ${(seconds ?? 0).toFixed(1)} s` : '→ canceled')
    this.#shown = null
  }

  /** Names the step that the next lines belong to, again whenever the output of parallel steps changes over. */
  #show(number: number, step: Step): void {
    if (this.#shown === number) return
    this.#shown = number
    this.#log.command(step.name)
  }

  #note(text: string): void {
    // The end of a failed build repeats what the step has printed.
    if (text.startsWith(' > ')) this.#summary = true
    this.#notes.push(text)
    if (this.#notes.length > NOTES) this.#notes.shift()
    if (!this.#summary) this.#log.output(text)
  }
}
