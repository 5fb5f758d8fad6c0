import type { Deployment, StageTiming } from '../contract/deployment.ts'
import type { LogLine } from '../contract/event.ts'
import { formatTook } from './format.ts'
import { fitted, type Terminal } from './terminal.ts'

const SPINNER = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'] as const
const FRAME_MS = 100
const LIVE_LOG_LINES = 6
const STAGE_WIDTH = 16
const TOOK_WIDTH = 10

/** How a deployment goes, as it goes: drawn in place on a terminal, line by line anywhere else. */
export interface PipelineView {
  update(deployment: Deployment, waitsFor: string | null): void
  line(line: LogLine): void
  /** A remark that stays. */
  note(text: string): void
  /** Leaves the terminal as it was. May be called twice. */
  close(): void
}

export function createPipelineView(terminal: Terminal): PipelineView {
  if (terminal.isJson) return { update: () => {}, line: () => {}, note: () => {}, close: () => {} }
  return terminal.isLive ? new LiveView(terminal) : new PlainView(terminal)
}

/** One stage that has ended: `✔ build            2.1 s  npm ci, npm run build`. */
export function renderStage(stage: StageTiming, terminal: Pick<Terminal, 'colors' | 'columns'>): string {
  const { colors } = terminal
  const glyph = {
    done: colors.green('✔'),
    skipped: colors.dim('–'),
    failed: colors.red('✖'),
    canceled: colors.yellow('■'),
    running: colors.cyan('…'),
  }[stage.outcome ?? 'running']
  const name = stage.stage.padEnd(STAGE_WIDTH)
  const took = (stage.outcome === 'skipped' || stage.tookMs === null ? '' : formatTook(stage.tookMs)).padStart(TOOK_WIDTH)
  const reason = fitted(stage.reason ?? '', Math.max(20, terminal.columns - STAGE_WIDTH - TOOK_WIDTH - 8))
  const line = `  ${glyph} ${stage.outcome === 'skipped' ? colors.dim(name) : name}${took}  ${colors.dim(reason)}`
  return line.trimEnd()
}

/** Tells each stage once, when it has ended, in the order of their ends. */
class EndedStages {
  readonly #told = new Set<string>()

  take(deployment: Deployment): StageTiming[] {
    const ended = deployment.stages.filter((stage) => stage.outcome !== null && !this.#told.has(`${stage.stage} ${stage.startedAt}`))
    for (const stage of ended) this.#told.add(`${stage.stage} ${stage.startedAt}`)
    return ended
  }
}

class PlainView implements PipelineView {
  readonly #terminal: Terminal
  readonly #ended = new EndedStages()
  #waited: string | null = null

  constructor(terminal: Terminal) {
    this.#terminal = terminal
  }

  update(deployment: Deployment, waitsFor: string | null): void {
    if (waitsFor !== null && waitsFor !== this.#waited) this.#terminal.print(`  … ${fitted(waitsFor, 200)}`)
    this.#waited = waitsFor
    for (const stage of this.#ended.take(deployment)) this.#terminal.print(renderStage(stage, this.#terminal))
  }

  line(line: LogLine): void {
    this.#terminal.print(`    ${this.#terminal.colors.dim('|')} ${fitted(line.text, 1000)}`)
  }

  note(text: string): void {
    this.#terminal.print(`  ${text}`)
  }

  close(): void {}
}

class LiveView implements PipelineView {
  readonly #terminal: Terminal
  readonly #ended = new EndedStages()
  readonly #timer: NodeJS.Timeout
  #deployment: Deployment | null = null
  #waitsFor: string | null = null
  #lines: string[] = []
  /** Lines of the block that is drawn now, below everything that stays. */
  #drawn = 0
  #frame = 0
  #isClosed = false

  constructor(terminal: Terminal) {
    this.#terminal = terminal
    terminal.draw('\u001b[?25l')
    this.#timer = setInterval(() => {
      this.#frame += 1
      this.#redraw([])
    }, FRAME_MS)
  }

  update(deployment: Deployment, waitsFor: string | null): void {
    this.#deployment = deployment
    this.#waitsFor = waitsFor
    const ended = this.#ended.take(deployment)
    // The lines shown belong to the stage that has ended.
    if (ended.length > 0) this.#lines = []
    this.#redraw(ended.map((stage) => renderStage(stage, this.#terminal)))
  }

  line(line: LogLine): void {
    this.#lines = [...this.#lines, line.text].slice(-LIVE_LOG_LINES)
  }

  note(text: string): void {
    this.#redraw([`  ${text}`])
  }

  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    clearInterval(this.#timer)
    this.#erase()
    this.#terminal.draw('\u001b[?25h')
  }

  #redraw(staying: readonly string[]): void {
    if (this.#isClosed) return
    const block = this.#block()
    this.#terminal.draw(`${this.#erasing()}${[...staying, ...block].map((line) => `${line}\n`).join('')}`)
    this.#drawn = block.length
  }

  #erase(): void {
    this.#terminal.draw(this.#erasing())
    this.#drawn = 0
  }

  #erasing(): string {
    return this.#drawn === 0 ? '' : `\u001b[${this.#drawn}A\u001b[0J`
  }

  #block(): string[] {
    const { colors, columns } = this.#terminal
    const deployment = this.#deployment
    const spinner = colors.cyan(SPINNER[this.#frame % SPINNER.length] ?? '')
    const running = deployment?.stages.find((stage) => stage.outcome === null)
    if (running === undefined) {
      const what = this.#waitsFor ?? deployment?.statusReason ?? ''
      return [`  ${spinner} ${fitted(what === '' ? 'waiting' : what, columns - 6)}`]
    }
    const took = formatTook(Math.max(0, Date.now() - Date.parse(running.startedAt))).padStart(TOOK_WIDTH)
    return [
      `  ${spinner} ${running.stage.padEnd(STAGE_WIDTH)}${took}`,
      ...this.#lines.map((line) => `      ${colors.dim(`│ ${fitted(line, columns - 10)}`)}`),
    ]
  }
}
