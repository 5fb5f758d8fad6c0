import { readFileSync } from 'node:fs'
import { join } from 'node:path'

const DOCS = join(import.meta.dirname, '../../docs')

/** The commands of a page's `sh` blocks, one a line, taken in order: a test that runs them keeps the page true. */
export class DocumentedCommands {
  readonly #left: string[]

  constructor(page: string) {
    const blocks = readFileSync(join(DOCS, page), 'utf8').matchAll(/^```sh\n(.*?)^```$/gms)
    this.#left = [...blocks].flatMap(([, text = '']) => text.split('\n')).filter((line) => line.trim() !== '')
  }

  /** The next one, which has to begin with `start`, with every placeholder (`slk_…`) and example (`git.example.com`) replaced. */
  next(start: string, replacements: Readonly<Record<string, string>>): string {
    const line = this.#left.shift() ?? ''
    if (!line.startsWith(start)) throw new Error(`the page goes on with \`${line}\`, the test with \`${start}\``)
    // The longest first: one may stand within another.
    const examples = Object.keys(replacements).sort((a, b) => b.length - a.length)
    const command = examples.reduce((text, example) => text.replaceAll(example, replacements[example] ?? ''), line)
    if (command.includes('…')) throw new Error(`nothing was given for a placeholder of \`${line}\``)
    return command
  }

  /** What no test has taken yet. */
  get left(): readonly string[] {
    return this.#left
  }
}
