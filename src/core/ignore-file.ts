import { type BoundedWork, Pace } from './bounded-work.ts'
import { ShiplockError } from './errors.ts'
import { compileGlob, type Glob } from './glob.ts'
import { LIMITS } from './limits.ts'
import { PathText } from './path-text.ts'

export type IgnoreVerdict = 'ignored' | 'kept' | null

interface Rule {
  readonly glob: Glob
  readonly keeps: boolean
  readonly directoriesOnly: boolean
  /** Without a slash inside, a pattern is about names at any depth. */
  readonly nameOnly: boolean
}

/** Places of the last rules about one plain text. */
interface LastRules {
  readonly any: number
  /** Of those that are not about directories only. */
  readonly ofFiles: number
}

/**
 * A file of gitignore syntax (gitignore(5)). Says nothing about parents: whoever walks does not enter what is ignored.
 * Rules without wildcards are found by one look each, so that long lists of plain names cost nothing.
 */
export class IgnoreFile {
  /** `.deployignore: 12 rules`. */
  readonly summary: string
  readonly #rules: readonly Rule[]
  /** Places of the rules with wildcards. */
  readonly #wild: readonly number[]
  readonly #names = new Map<string, LastRules>()
  readonly #paths = new Map<string, LastRules>()

  private constructor(file: string, rules: readonly Rule[]) {
    this.#rules = rules
    this.summary = `${file}: ${rules.length} rules`
    const wild: number[] = []
    for (const [place, rule] of rules.entries()) {
      const { literal } = rule.glob
      const list = rule.nameOnly ? this.#names : this.#paths
      if (literal === null) wild.push(place)
      else list.set(literal, { any: place, ofFiles: rule.directoriesOnly ? (list.get(literal)?.ofFiles ?? -1) : place })
    }
    this.#wild = wild
  }

  /** `file` is what refusals name. @throws CONFIG_INVALID beyond its bounds */
  static async parse(text: string, file: string): Promise<IgnoreFile> {
    if (text.length > LIMITS.ignoreFileBytes) throw refused(file, `is larger than ${LIMITS.ignoreFileBytes} bytes`)
    const pace = new Pace()
    const rules: Rule[] = []
    for (const [index, line] of text.split(/\r?\n/).entries()) {
      rules.push(...parseRule(line, `${file}:${index + 1}`))
      if (rules.length > LIMITS.ignoreFileRules) throw refused(file, `has more than ${LIMITS.ignoreFileRules} rules`)
      if (pace.isDue) await pace.rest()
    }
    return new IgnoreFile(file, rules)
  }

  /** What the last matching rule says about `path` (relative to the file's directory); null = no rule matches. */
  async verdict(path: string, isDirectory: boolean, work: BoundedWork): Promise<IgnoreVerdict> {
    const name = path.slice(path.lastIndexOf('/') + 1)
    const place = await this.#lastMatch({ path, name, isDirectory }, work)
    const rule = this.#rules[place]
    return rule === undefined ? null : rule.keeps ? 'kept' : 'ignored'
  }

  /** -1 = none. */
  async #lastMatch(
    { path, name, isDirectory }: { readonly path: string; readonly name: string; readonly isDirectory: boolean },
    work: BoundedWork,
  ): Promise<number> {
    const plain = [this.#names.get(name), this.#paths.get(path)].map((last) => (isDirectory ? last?.any : last?.ofFiles) ?? -1)
    const least = Math.max(...plain)
    const whole = new PathText(path)
    const own = new PathText(name)
    for (let at = this.#wild.length - 1; at >= 0; at--) {
      const place = this.#wild[at] ?? -1
      if (place < least) break
      const rule = this.#rules[place]
      if (rule === undefined || (rule.directoriesOnly && !isDirectory)) continue
      if (rule.glob.matches(rule.nameOnly ? own : whole, work)) return place
      if (work.isDue) await work.rest()
    }
    return least
  }
}

function parseRule(line: string, place: string): Rule[] {
  let text = trimTrailingSpace(line)
  if (text === '' || text.startsWith('#')) return []
  const keeps = text.startsWith('!')
  if (keeps) text = text.slice(1)
  const directoriesOnly = text.endsWith('/')
  if (directoriesOnly) text = text.slice(0, -1)
  const nameOnly = !text.includes('/')
  text = text.replace(/^\//, '')
  if (text === '' || text.split('/').includes('')) return []
  // `a/**` is what is inside a, not a itself.
  const whole = text.endsWith('/**') ? `${text}/*` : text
  if (whole.length > LIMITS.patternCharacters) throw refused(place, `the pattern is longer than ${LIMITS.patternCharacters} characters`)
  // gitignore has no alternatives.
  return [{ glob: compileGlob(whole, { braces: false }), keeps, directoriesOnly, nameOnly }]
}

function refused(place: string, problem: string): ShiplockError {
  return new ShiplockError('CONFIG_INVALID', `${place}: ${problem}`, {
    hint: 'Use fewer or shorter patterns; a directory stands for all that is in it.',
  })
}

/** Trailing spaces do not count unless escaped. */
function trimTrailingSpace(line: string): string {
  let end = line.length
  while (end > 0 && (line[end - 1] === ' ' || line[end - 1] === '\t') && line[end - 2] !== '\\') end -= 1
  return line.slice(0, end)
}
