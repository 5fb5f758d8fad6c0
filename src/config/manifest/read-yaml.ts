import { type Document, isAlias, isMap, isScalar, isSeq, LineCounter, type Node, type Pair, parseDocument, type YAMLError } from 'yaml'
import { LIMITS } from '../../core/limits.ts'
import { type ConfigProblem, configInvalid, type Path, type Position } from './problem.ts'
import { yamlBoundsProblem } from './yaml-bounds.ts'

export interface YamlFile {
  /** Plain data. Scalars inside the maps named by `literalMaps` are the text as written. */
  readonly data: unknown
  /** Where the key (or list item) at `path` stands; the nearest ancestor that exists otherwise. */
  locate(path: Path): Position | null
}

/** Why the parser refused, in words that say what to do. Keyed by the codes of the `yaml` package. */
const EXPLANATIONS: Readonly<Record<string, string>> = {
  TAB_AS_INDENT: 'a tab is used as indentation, which YAML does not allow: use spaces',
  DUPLICATE_KEY: 'this key stands twice in the same section: keep one',
  MULTIPLE_DOCS: 'several YAML documents in one file: keep one, without `---` between them',
  BAD_INDENT: 'the indentation does not fit what stands above',
  MISSING_CHAR: 'a character is missing, often a closing quote or bracket, or a comma',
  TAG_RESOLVE_FAILED: 'YAML tags (`!something`) are not used here',
}

/**
 * Reads YAML 1.2 as data: no custom tags, bounded aliases, no duplicate keys. `literalMaps` names the keys whose maps hold texts
 * (`env`): `VERSION: 1.10` there is the text 1.10, not the number 1.1.
 */
export function readYaml(text: string, file: string, literalMaps: ReadonlySet<string>): YamlFile {
  if (text.includes('\0'))
    throw configInvalid(file, [{ path: '', position: null, message: 'this is no text file: it holds NUL characters' }])
  const tooMuch = yamlBoundsProblem(text)
  if (tooMuch !== null) throw configInvalid(file, [{ path: '', position: null, message: `can't be read: ${tooMuch}` }])
  const lines = new LineCounter()
  const document = parse(text, file, lines)
  const problems = [...document.errors, ...document.warnings].map((error) => explain(error, lines))
  if (problems.length > 0) throw configInvalid(file, problems)
  keepLiterals(document, literalMaps)
  return { data: toData(document, file), locate: (path) => locate(document, lines, path) }
}

function parse(text: string, file: string, lineCounter: LineCounter): Document.Parsed {
  try {
    return parseDocument(text, { lineCounter, uniqueKeys: true, strict: true, merge: true, prettyErrors: false, version: '1.2' })
  } catch (error) {
    throw configInvalid(file, [{ path: '', position: null, message: `can't be read: ${reason(error)}` }])
  }
}

function toData(document: Document, file: string): unknown {
  try {
    return document.toJS({ maxAliasCount: LIMITS.configAliases })
  } catch (error) {
    throw configInvalid(file, [{ path: '', position: null, message: `can't be read: ${reason(error)}` }])
  }
}

function reason(error: unknown): string {
  if (error instanceof ReferenceError && error.message.startsWith('Excessive')) return 'its aliases (`*name`) multiply without bound'
  return error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error)
}

function explain(error: YAMLError, lines: LineCounter): ConfigProblem {
  const { line, col } = lines.linePos(error.pos[0])
  const known = EXPLANATIONS[error.code]
  return { path: '', position: { line, column: col }, message: known ?? `is no valid YAML: ${error.message.split('\n')[0]}` }
}

/** Replaces numbers and booleans in literal maps by the text that stands in the file. Recursion is bounded by the parser's own. */
function keepLiterals(document: Document, literalMaps: ReadonlySet<string>): void {
  const visit = (node: unknown, key: string | null): void => {
    if (isSeq(node)) for (const item of node.items) visit(item, null)
    if (!isMap(node)) return
    for (const pair of node.items) {
      const name = keyText(pair)
      const value = pair.value
      if (key !== null && literalMaps.has(key) && isScalar(value) && value.source !== undefined) {
        if (typeof value.value === 'number' || typeof value.value === 'boolean') value.value = value.source
      } else visit(value, name)
    }
  }
  visit(document.contents, null)
}

function keyText(pair: Pair): string | null {
  return isScalar(pair.key) ? String(pair.key.value) : null
}

function locate(document: Document, lines: LineCounter, path: Path): Position | null {
  let node: unknown = document.contents
  let best = startOf(document.contents)
  for (const part of path) {
    if (isAlias(node)) node = node.resolve(document)
    if (isMap(node)) {
      const pair: Pair | undefined = node.items.find((item) => keyText(item) === String(part))
      if (pair === undefined) break
      best = startOf(pair.key) ?? best
      node = pair.value
    } else if (isSeq(node)) {
      node = node.items[Number(part)]
      best = startOf(node) ?? best
    } else break
  }
  if (best === null) return null
  const { line, col } = lines.linePos(best)
  return { line, column: col }
}

function startOf(node: unknown): number | null {
  return (node as Node | null | undefined)?.range?.[0] ?? null
}
