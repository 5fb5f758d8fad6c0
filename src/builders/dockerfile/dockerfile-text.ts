import { ShiplockError } from '../../core/errors.ts'
import { printable } from '../../core/printable.ts'
import { heredocsOf, takeFlags } from './dockerfile-words.ts'

/** One instruction of a Dockerfile, its lines joined as builders join them. */
export interface Instruction {
  /** Upper case. */
  readonly keyword: string
  /** All after the keyword, flags included. */
  readonly rest: string
  /** 1-based, of its first line. */
  readonly line: number
  /** How many lines of the file it covers, here-documents included. */
  readonly span: number
  /** Lines of its here-documents, terminators included. */
  readonly heredoc: readonly string[]
}

export interface DockerfileText {
  /** What `# syntax=` names. */
  readonly syntax: string | null
  readonly escapeToken: '\\' | '`'
  readonly instructions: readonly Instruction[]
}

const KEYWORDS: ReadonlySet<string> = new Set(
  'ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK LABEL MAINTAINER ONBUILD RUN SHELL STOPSIGNAL USER VOLUME WORKDIR'.split(' '),
)
const HEREDOC_KEYWORDS: ReadonlySet<string> = new Set(['ADD', 'COPY', 'RUN'])
const DIRECTIVE = /^[ \t]*#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*$/
const DIRECTIVES: ReadonlySet<string> = new Set(['syntax', 'escape', 'check'])
/** Line ends of old systems and white space that only some readers take for such. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
const ODD = /[\0\v\f\r\x1c-\x1f\x85]/

/**
 * Reads a Dockerfile into instructions, by the rules that BuildKit and the classic builder share (frontend/dockerfile/parser of
 * moby/buildkit). Where builders of different versions would read different instructions, it is refused: what is checked has to be what is
 * built. `hasHeredocs`: whether the builder, or the frontend that the file
 * names, knows here-documents; for one that does not, their lines are instructions.
 */
export function parseDockerfile(
  source: string,
  { hasHeredocs }: { readonly hasHeredocs: (syntax: string | null) => boolean },
): DockerfileText {
  const lines = source
    .replace(/^\uFEFF/, '')
    .replaceAll('\r\n', '\n')
    .split('\n')
  const odd = lines.findIndex((line) => ODD.test(line))
  if (odd !== -1) throw unreadable(odd + 1, 'a control character that builders read in different ways')
  const { syntax, escapeToken, next } = directivesOf(lines)
  const instructions: Instruction[] = []
  for (let at = next; at < lines.length; ) {
    if (isNothing(lines[at] ?? '')) {
      at += 1
      continue
    }
    const instruction = readInstruction(lines, at, escapeToken, hasHeredocs(syntax))
    instructions.push(instruction)
    at += instruction.span
  }
  return { syntax, escapeToken, instructions }
}

function directivesOf(lines: readonly string[]): { syntax: string | null; escapeToken: '\\' | '`'; next: number } {
  const seen = new Map<string, string>()
  let next = 0
  for (; next < lines.length; next += 1) {
    const match = DIRECTIVE.exec(lines[next] ?? '')
    const name = match?.[1]?.toLowerCase() ?? ''
    if (!DIRECTIVES.has(name)) break
    if (seen.has(name)) throw unreadable(next + 1, `only one ${name} directive can be used`)
    seen.set(name, match?.[2] ?? '')
  }
  const escapeToken = seen.get('escape') ?? '\\'
  if (escapeToken !== '\\' && escapeToken !== '`') throw unreadable(1, 'the escape directive names neither \\ nor `')
  return { syntax: seen.get('syntax') ?? null, escapeToken, next }
}

function readInstruction(lines: readonly string[], begin: number, escapeToken: string, hasHeredocs: boolean): Instruction {
  const { text, next } = joined(lines, begin, escapeToken)
  const match = /^([^ \t]+)(?:[ \t]+(.*))?$/s.exec(text.trim())
  const keyword = match?.[1]?.toUpperCase() ?? ''
  const rest = match?.[2] ?? ''
  if (!KEYWORDS.has(keyword)) throw unreadable(begin + 1, `unknown instruction: ${printable(keyword).slice(0, 40)}`)
  const heredoc = readHeredocs(lines, next, { keyword, rest, line: begin + 1, hasHeredocs })
  return { keyword, rest, line: begin + 1, span: next - begin + heredoc.length, heredoc }
}

/** A line with those that continue it. Comments and empty lines between them are skipped. */
function joined(lines: readonly string[], begin: number, escapeToken: string): { text: string; next: number } {
  const continues = new RegExp(`\\${escapeToken}[ \\t]*$`)
  const twice = new RegExp(`\\${escapeToken}\\${escapeToken}[ \\t]*$`)
  let text = ''
  let next = begin
  let piece = (lines[begin] ?? '').trimStart()
  for (;;) {
    // Older builders go on with the next line, younger ones don't.
    if (twice.test(piece))
      throw unreadable(next + 1, `a line that ends in ${escapeToken}${escapeToken}, which builders read in different ways`)
    next += 1
    if (!continues.test(piece)) return { text: text + piece, next }
    text += piece.replace(continues, '')
    while (next < lines.length && isNothing(lines[next] ?? '')) next += 1
    const following = lines[next]
    if (following === undefined) break
    piece = following
  }
  if (continues.test(text)) throw unreadable(next, `an end in ${escapeToken}, which builders read in different ways`)
  return { text, next }
}

function readHeredocs(
  lines: readonly string[],
  next: number,
  { keyword, rest, line, hasHeredocs }: { keyword: string; rest: string; line: number; hasHeredocs: boolean },
): readonly string[] {
  const sub = keyword === 'ONBUILD' ? /^([A-Za-z]+)[ \t]+(.*)$/s.exec(rest) : null
  const [own, text] = sub === null ? [keyword, rest] : [sub[1]?.toUpperCase() ?? '', sub[2] ?? '']
  if (!HEREDOC_KEYWORDS.has(own) || !text.includes('<<')) return []
  const docs = heredocsOf(takeFlags(text).rest)
  if (docs === null) throw unreadable(line, '<< within quotes or braces that do not end, which builders read in different ways')
  if (docs.length === 0) return []
  if (keyword === 'ONBUILD') throw unreadable(line, 'a here-document in ONBUILD')
  if (!hasHeredocs)
    throw unreadable(line, 'a here-document, which this builder does not know: Docker Engine 23 does, and `# syntax=docker/dockerfile:1`')
  const content: string[] = []
  for (const { name, chomps } of docs) {
    for (;;) {
      const found = lines[next + content.length]
      if (found === undefined) throw unreadable(line, `a here-document without its end ${printable(name)}`)
      content.push(found)
      if ((chomps ? found.replace(/^\t+/, '') : found) === name) break
    }
  }
  return content
}

function isNothing(line: string): boolean {
  return /^\s*(?:#.*)?$/.test(line)
}

export function unreadable(line: number, what: string): ShiplockError {
  return new ShiplockError('BUILD_FAILED', `the Dockerfile can’t be read at line ${line}: ${what}`, { hint: 'Correct that line.' })
}
