import { StringDecoder } from 'node:string_decoder'
import { LIMITS } from './limits.ts'
import { printable } from './printable.ts'

const BREAK = /[\r\n]/g

/**
 * Cuts a byte stream into printable lines. A line longer than `LIMITS.logLineBytes` is cut into several, so that
 * a program that prints without line breaks can't fill the memory (I12). Multi-byte characters split across chunks stay whole.
 * A line that is written over again and again (progress bars return to its beginning) is its last state, as a terminal shows it.
 */
export class LineSplitter {
  readonly #decoder = new StringDecoder('utf8')
  readonly #onLine: (line: string) => void
  /** Since the last break or return. */
  #rest = ''
  /** What a return went back over, if it showed anything. */
  #state: string | null = null

  constructor(onLine: (line: string) => void) {
    this.#onLine = onLine
  }

  push(chunk: Uint8Array): void {
    const text = this.#decoder.write(chunk as Buffer)
    let from = 0
    for (const { 0: end, index } of text.matchAll(BREAK)) {
      this.#add(text.slice(from, index))
      from = index + 1
      if (end === '\n') this.#break()
      else this.#return()
    }
    this.#add(text.slice(from))
  }

  /** Emits what is left without a line break. */
  end(): void {
    this.#add(this.#decoder.end())
    if (this.#rest !== '' || this.#state !== null) this.#break()
  }

  #add(text: string): void {
    this.#rest += text
    while (this.#rest.length > LIMITS.logLineBytes) {
      this.#onLine(printable(this.#rest.slice(0, LIMITS.logLineBytes)))
      this.#rest = this.#rest.slice(LIMITS.logLineBytes)
      this.#state = null
    }
  }

  #return(): void {
    if (this.#rest === '') return
    if (showsAnything(this.#rest)) this.#state = this.#rest
    this.#rest = ''
  }

  #break(): void {
    const line = this.#state === null || showsAnything(this.#rest) ? this.#rest : this.#state
    this.#rest = ''
    this.#state = null
    this.#onLine(printable(line))
  }
}

/** The same for a whole line that is there already. */
export function lastState(line: string): string {
  if (!line.includes('\r')) return line
  const states = line.split('\r')
  return states.findLast(showsAnything) ?? states.at(-1) ?? ''
}

function showsAnything(text: string): boolean {
  return printable(text).trim() !== ''
}
