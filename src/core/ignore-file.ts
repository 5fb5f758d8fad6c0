import { compileGlob, type Glob } from './glob.ts'

export type IgnoreVerdict = 'ignored' | 'kept' | null

interface Rule {
  readonly glob: Glob
  readonly keeps: boolean
  readonly directoriesOnly: boolean
  /** Without a slash inside, a pattern is about names at any depth. */
  readonly nameOnly: boolean
}

/** A file of gitignore syntax (gitignore(5)). Says nothing about parents: whoever walks does not enter what is ignored. */
export class IgnoreFile {
  readonly #rules: readonly Rule[]

  constructor(text: string) {
    this.#rules = text.split(/\r?\n/).flatMap(parseRule)
  }

  /** What the last matching rule says about `path` (relative to the file's directory); null = no rule matches. */
  verdict(path: string, isDirectory: boolean): IgnoreVerdict {
    const names = path.split('/')
    for (let at = this.#rules.length - 1; at >= 0; at--) {
      const rule = this.#rules[at]
      if (rule === undefined || (rule.directoriesOnly && !isDirectory)) continue
      if (rule.glob(rule.nameOnly ? names.slice(-1) : names)) return rule.keeps ? 'kept' : 'ignored'
    }
    return null
  }
}

function parseRule(line: string): Rule[] {
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
  const pattern = text.endsWith('/**') ? `${text}/*` : text
  // gitignore has no alternatives: a brace is a brace.
  const glob = compileGlob(pattern.replace(/(?<!\\)([{}])/g, '\\$1'))
  return [{ glob, keeps, directoriesOnly, nameOnly }]
}

/** Trailing spaces do not count unless escaped. */
function trimTrailingSpace(line: string): string {
  let end = line.length
  while (end > 0 && (line[end - 1] === ' ' || line[end - 1] === '\t') && line[end - 2] !== '\\') end -= 1
  return line.slice(0, end)
}
