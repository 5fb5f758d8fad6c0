import { variableNameProblem } from '../config/variable-name.ts'
import { ShiplockError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { printable } from '../core/printable.ts'

/** What is wrong with a .env file, by line. Never holds a value: it may be a secret (I8). */
interface Problem {
  readonly line: number
  readonly says: string
}

const ASSIGNMENT = /^(?:export[ \t]+)?([^\s=#'"`]+)[ \t]*=[ \t]*/
const ESCAPES: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', '"': '"', '\\': '\\', $: '$' }
const PROBLEMS_SHOWN = 20

/**
 * Reads a .env file: `NAME=value`, `export NAME=value`, `#` comments, blank lines. Single quotes and backticks take what is between them as
 * it is, double quotes know \n \r \t \" \\ \$; all three may span lines. Without quotes a value ends with its line or at ` #`.
 * Of a name that is given twice the last one counts, as programs that read such files do. Names that can't be set are left out and told.
 * Throws INPUT_INVALID with every line that can't be read, rather than guess.
 */
export function parseDotenv(
  text: string,
  file: string,
): { readonly values: ReadonlyMap<string, string>; readonly leftOut: readonly string[] } {
  const reader = new DotenvReader(text.replace(/^\ufeff/, '').replaceAll('\r\n', '\n'))
  reader.read()
  const shown = ({ line, says }: Problem) => `${printable(file)}:${line}: ${says}`
  if (reader.problems.length > 0) {
    throw new ShiplockError('INPUT_INVALID', reader.problems.slice(0, PROBLEMS_SHOWN).map(shown).join('\n'), {
      hint: 'Correct the lines that are named; nothing was set.',
    })
  }
  return { values: reader.values, leftOut: reader.leftOut.map(shown) }
}

class DotenvReader {
  readonly values = new Map<string, string>()
  readonly problems: Problem[] = []
  readonly leftOut: Problem[] = []
  readonly #text: string
  readonly #lineOf = new Map<string, number>()
  #at = 0
  #line = 1

  constructor(text: string) {
    this.#text = text
  }

  read(): void {
    while (this.#at < this.#text.length) this.#readStatement()
  }

  #readStatement(): void {
    const line = this.#restOfLine()
    if (/^[ \t]*(?:#.*)?$/.test(line)) {
      this.#skip(line.length + 1)
      return
    }
    const indent = line.length - line.trimStart().length
    const match = ASSIGNMENT.exec(line.slice(indent))
    if (match === null) {
      this.#refuse(this.#line, 'is not NAME=value')
      this.#skip(line.length + 1)
      return
    }
    const [whole, name = ''] = match
    const startedAt = this.#line
    this.#skip(indent + whole.length)
    const value = this.#readValue(startedAt)
    if (value !== null) this.#keep(name, value, startedAt)
  }

  #keep(name: string, value: string, line: number): void {
    const problem = variableNameProblem(name)
    const before = this.#lineOf.get(name)
    if (problem !== null) this.leftOut.push({ line, says: `${printable(name.slice(0, 80))} ${problem}` })
    else if (Buffer.byteLength(value) > LIMITS.variableValueBytes)
      this.leftOut.push({ line, says: `${name} is larger than ${LIMITS.variableValueBytes} bytes` })
    else {
      if (before !== undefined) this.leftOut.push({ line: before, says: `${name} is set again in line ${line}, which counts` })
      this.values.set(name, value)
      this.#lineOf.set(name, line)
    }
  }

  /** null = refused. */
  #readValue(startedAt: number): string | null {
    const quote = this.#text[this.#at]
    if (quote !== '"' && quote !== "'" && quote !== '`') {
      const line = this.#restOfLine()
      this.#skip(line.length + 1)
      return line.replace(/(?:^|[ \t]+)#.*$/, '').trim()
    }
    const end = this.#endOfQuote(quote)
    if (end === -1) {
      this.#refuse(startedAt, `the ${quote} that begins here is never closed`)
      this.#skip(this.#text.length)
      return null
    }
    const inside = this.#text.slice(this.#at + 1, end)
    this.#skip(end + 1 - this.#at)
    const rest = this.#restOfLine()
    if (!/^[ \t]*(?:#.*)?$/.test(rest)) {
      this.#refuse(this.#line, `something follows the closing ${quote}`)
      this.#skip(rest.length + 1)
      return null
    }
    this.#skip(rest.length + 1)
    return quote === '"' ? inside.replace(/\\([nrt"\\$])/g, (_, escaped: string) => ESCAPES[escaped] ?? escaped) : inside
  }

  #endOfQuote(quote: string): number {
    for (let at = this.#at + 1; at < this.#text.length; at++) {
      if (quote === '"' && this.#text[at] === '\\') at += 1
      else if (this.#text[at] === quote) return at
    }
    return -1
  }

  #restOfLine(): string {
    const end = this.#text.indexOf('\n', this.#at)
    return this.#text.slice(this.#at, end === -1 ? this.#text.length : end)
  }

  #skip(length: number): void {
    for (const unit of this.#text.slice(this.#at, this.#at + length)) if (unit === '\n') this.#line += 1
    this.#at += length
  }

  #refuse(line: number, says: string): void {
    this.problems.push({ line, says })
  }
}
