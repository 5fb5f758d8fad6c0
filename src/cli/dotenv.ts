import { variableNameProblem } from '../config/variable-name.ts'
import { ShiplockError } from '../core/errors.ts'
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
 * Throws INPUT_INVALID with every line that is wrong, rather than guess.
 */
export function parseDotenv(text: string, file: string): ReadonlyMap<string, string> {
  const reader = new DotenvReader(text.replace(/^\ufeff/, '').replaceAll('\r\n', '\n'))
  reader.read()
  if (reader.problems.length > 0) {
    const lines = reader.problems.slice(0, PROBLEMS_SHOWN).map(({ line, says }) => `${printable(file)}:${line}: ${says}`)
    throw new ShiplockError('INPUT_INVALID', lines.join('\n'), { hint: 'Correct the lines that are named; nothing was set.' })
  }
  return reader.values
}

class DotenvReader {
  readonly values = new Map<string, string>()
  readonly problems: Problem[] = []
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
    if (problem !== null) this.#refuse(line, `${printable(name.slice(0, 80))} ${problem}`)
    else if (before !== undefined) this.#refuse(line, `${name} is set already in line ${before}`)
    else {
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
