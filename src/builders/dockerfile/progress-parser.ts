import { StringDecoder } from 'node:string_decoder'
import { LIMITS } from '../../core/limits.ts'
import { printable } from '../../core/printable.ts'
import { withoutRunScope } from './run-scope.ts'

/** What BuildKit says about a build, piece by piece. `step` numbers are BuildKit's; the name of one never changes. */
export type ProgressItem =
  | { readonly kind: 'step'; readonly step: number; readonly name: string }
  | { readonly kind: 'output'; readonly step: number; readonly text: string }
  /** What BuildKit itself does in a step: `transferring context: 2.1MB`, `extracting sha256:…`. */
  | { readonly kind: 'status'; readonly step: number; readonly text: string }
  | { readonly kind: 'end'; readonly step: number; readonly how: 'done' | 'cached' | 'canceled'; readonly seconds: number | null }
  | { readonly kind: 'error'; readonly step: number; readonly text: string }
  /** Outside of any step: the summary of a failure, warnings, the error that ended it all. */
  | { readonly kind: 'note'; readonly text: string }

const STEP_LINE = /^#(\d{1,9})(?: (.*))?$/s
const OUTPUT = /^\d+\.\d{1,4}(?: (.*))?$/s
const DONE = /^DONE (\d+(?:\.\d+)?)s$/
const VERTEX_DIGEST = /^sha256:[0-9a-f]{64}$/

/**
 * Reads the output of `docker build --progress=plain`, as docker 20.10 and buildx write it. What a build's own programs print comes with
 * number and time before every line, so that nothing they print is taken for BuildKit's word. A pure function of its input; text that
 * leaves it is printable (I9).
 */
export class ProgressParser {
  readonly #names = new Map<number, string>()
  readonly #decoder = new StringDecoder('utf8')
  readonly #emit: (item: ProgressItem) => void
  #rest = ''

  constructor(emit: (item: ProgressItem) => void) {
    this.#emit = emit
  }

  push(chunk: Uint8Array): void {
    let text = this.#rest + this.#decoder.write(chunk as Buffer)
    for (let end = text.indexOf('\n'); end !== -1; end = text.indexOf('\n')) {
      this.#line(text.slice(0, end))
      text = text.slice(end + 1)
    }
    // A line without end is cut, so that it can't fill the memory (I12); what follows of it has no number and becomes notes.
    if (text.length > LIMITS.logLineBytes * 4) {
      this.#line(text)
      text = ''
    }
    this.#rest = text
  }

  end(): void {
    const text = this.#rest + this.#decoder.end()
    this.#rest = ''
    if (text !== '') this.#line(text)
  }

  #line(raw: string): void {
    const line = raw.replace(/\r+$/, '')
    const match = STEP_LINE.exec(line)
    if (match === null) {
      if (line.trim() !== '' && !/^-+$/.test(line.trim())) this.#emit({ kind: 'note', text: clean(line) })
      return
    }
    const step = Number(match[1])
    const body = match[2] ?? ''
    const name = this.#names.get(step)
    if (name === undefined) this.#begin(step, body)
    // The name stands again wherever the output comes back to a step.
    else if (body !== name && body !== '...' && body !== '' && !VERTEX_DIGEST.test(body)) this.#emit(this.#read(step, body))
  }

  #begin(step: number, body: string): void {
    if (this.#names.size >= LIMITS.buildSteps) return
    this.#names.set(step, body)
    this.#emit({ kind: 'step', step, name: clean(body) })
  }

  #read(step: number, body: string): ProgressItem {
    const output = OUTPUT.exec(body)
    if (output !== null) return { kind: 'output', step, text: clean(output[1] ?? '') }
    const done = DONE.exec(body)
    if (done !== null) return { kind: 'end', step, how: 'done', seconds: Number(done[1]) }
    if (body === 'CACHED') return { kind: 'end', step, how: 'cached', seconds: null }
    if (body === 'CANCELED') return { kind: 'end', step, how: 'canceled', seconds: null }
    if (body === 'ERROR' || body.startsWith('ERROR: ')) return { kind: 'error', step, text: clean(body.slice('ERROR: '.length)) }
    return { kind: 'status', step, text: clean(body) }
  }
}

/** Of text that went back to the beginning of its line, what a terminal would show at last. */
function clean(text: string): string {
  const shown = text.split('\r').findLast((part) => part !== '') ?? ''
  return withoutRunScope(printable(shown)).slice(0, LIMITS.logLineBytes)
}
