import { StringDecoder } from 'node:string_decoder'
import { LIMITS } from './limits.ts'
import { printable } from './printable.ts'

/**
 * Cuts a byte stream into printable lines. A line longer than `LIMITS.logLineBytes` is cut into several, so that
 * a program that prints without line breaks can't fill the memory (I12). Multi-byte characters split across chunks stay whole.
 */
export class LineSplitter {
  readonly #decoder = new StringDecoder('utf8')
  readonly #onLine: (line: string) => void
  #rest = ''

  constructor(onLine: (line: string) => void) {
    this.#onLine = onLine
  }

  push(chunk: Uint8Array): void {
    let text = this.#rest + this.#decoder.write(chunk as Buffer)
    for (let end = text.indexOf('\n'); end !== -1; end = text.indexOf('\n')) {
      this.#emit(text.slice(0, end).replace(/\r$/, ''))
      text = text.slice(end + 1)
    }
    // A CR that its LF may follow in the next chunk is no character of the line.
    while (text.length > LIMITS.logLineBytes && !(text.length === LIMITS.logLineBytes + 1 && text.endsWith('\r'))) {
      this.#emit(text.slice(0, LIMITS.logLineBytes))
      text = text.slice(LIMITS.logLineBytes)
    }
    this.#rest = text
  }

  /** Emits what is left without a line break. */
  end(): void {
    const text = this.#rest + this.#decoder.end()
    this.#rest = ''
    if (text !== '') this.#emit(text)
  }

  #emit(line: string): void {
    for (let at = 0; at === 0 || at < line.length; at += LIMITS.logLineBytes) {
      this.#onLine(printable(line.slice(at, at + LIMITS.logLineBytes)))
    }
  }
}
