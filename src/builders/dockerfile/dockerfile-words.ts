/** Words of Dockerfile instructions, split as builders split them. */

export interface Flags {
  /** `--from=x`, without the quotes that stood around parts of it. */
  readonly flags: readonly string[]
  readonly rest: string
}

/** The flags before an instruction's arguments (extractBuilderFlags in moby/buildkit). Here `\` escapes, whatever the escape directive says. */
export function takeFlags(text: string): Flags {
  const flags: string[] = []
  let at = 0
  for (;;) {
    while (/\s/.test(text[at] ?? '')) at += 1
    if (!text.startsWith('--', at)) return { flags, rest: text.slice(at) }
    const { word, end } = flagWord(text, at)
    at = end
    if (word === '--') return { flags, rest: text.slice(at).trimStart() }
    flags.push(word)
  }
}

function flagWord(text: string, begin: number): { word: string; end: number } {
  let word = ''
  let quote = ''
  let at = begin
  for (; at < text.length; at += 1) {
    const character = text[at] ?? ''
    if (quote === '' && /\s/.test(character)) break
    if (character === '\\') {
      at += 1
      word += text[at] ?? ''
    } else if (quote === '' && (character === '"' || character === "'")) quote = character
    else if (character === quote) quote = ''
    else word += character
  }
  return { word, end: at }
}

export interface Heredoc {
  readonly name: string
  /** `<<-`: tabs before its lines don't count. */
  readonly chomps: boolean
}

/** The here-documents that a RUN, COPY or ADD begins; null = quotes or braces don't end, so that nobody knows. A JSON array has none. */
export function heredocsOf(text: string): readonly Heredoc[] | null {
  if (jsonWords(text) !== null) return []
  const words = rawWords(text)
  if (words === null) return null
  const docs: Heredoc[] = []
  for (const word of words) {
    const match = /^\d*<<(-?)([^<]*)$/.exec(word)
    if (match === null || match[2] === '') continue
    const name = /^(["']?)([^"'\\$`\s]+)\1$/.exec(match[2] ?? '')?.[2]
    if (name === undefined) return null
    docs.push({ name, chomps: match[1] === '-' })
  }
  return docs
}

/** `["a", "b"]`, the form without a shell; null = it is not in that form. */
export function jsonWords(text: string): readonly string[] | null {
  if (!text.trimStart().startsWith('[')) return null
  try {
    const words: unknown = JSON.parse(text)
    return Array.isArray(words) && words.every((word) => typeof word === 'string') ? words : null
  } catch {
    return null
  }
}

/** Split at spaces outside of quotes and `${…}`, quotes and escapes kept; null = one of them does not end. */
function rawWords(text: string): readonly string[] | null {
  const words: string[] = []
  let word = ''
  for (let at = 0; at < text.length; ) {
    const end = pieceEnd(text, at)
    if (end === null) return null
    const piece = text.slice(at, end)
    if (/^\s$/.test(piece)) {
      if (word !== '') words.push(word)
      word = ''
    } else word += piece
    at = end
  }
  return word === '' ? words : [...words, word]
}

/** Where the quotation, the braces, the escaped or the plain character that begins there ends. */
function pieceEnd(text: string, at: number): number | null {
  const character = text[at]
  if (character === '\\') return Math.min(at + 2, text.length)
  if (character === "'") return after(text.indexOf("'", at + 1))
  if (character === '"') return quotationEnd(text, at)
  if (character === '$' && text[at + 1] === '{') return bracesEnd(text, at + 2)
  return at + 1
}

function quotationEnd(text: string, begin: number): number | null {
  for (let at = begin + 1; at < text.length; at += 1) {
    if (text[at] === '"') return at + 1
    if (text[at] === '\\') at += 1
    else if (text[at] === '$' && text[at + 1] === '{') {
      const end = bracesEnd(text, at + 2)
      if (end === null) return null
      at = end - 1
    }
  }
  return null
}

function bracesEnd(text: string, begin: number): number | null {
  for (let at = begin; at < text.length; ) {
    if (text[at] === '}') return at + 1
    const end = pieceEnd(text, at)
    if (end === null) return null
    at = end
  }
  return null
}

function after(index: number): number | null {
  return index === -1 ? null : index + 1
}

/**
 * `node:${VERSION:-20}-slim` with its variables put in; a variable that is not set is empty. null = a form that is not known here, or that
 * builders of different versions take for different things.
 */
export function expand(text: string, variables: ReadonlyMap<string, string>, escapeToken: string): string | null {
  let result = ''
  for (let at = 0; at < text.length; ) {
    const character = text[at] ?? ''
    if (character === escapeToken) return null
    if (character === "'" || character === '"') {
      const end = text.indexOf(character, at + 1)
      if (end === -1) return null
      const inner = text.slice(at + 1, end)
      const value = character === "'" ? inner : expand(inner, variables, escapeToken)
      if (value === null) return null
      result += value
      at = end + 1
    } else if (character === '$') {
      const found = variableAt(text, at, variables, escapeToken)
      if (found === null) return null
      result += found.value
      at = found.end
    } else {
      result += character
      at += 1
    }
  }
  return result
}

function variableAt(
  text: string,
  at: number,
  variables: ReadonlyMap<string, string>,
  escapeToken: string,
): { value: string; end: number } | null {
  const plain = /^\$([A-Za-z_][A-Za-z0-9_]*)/.exec(text.slice(at))
  if (plain !== null) return { value: variables.get(plain[1] ?? '') ?? '', end: at + plain[0].length }
  const head = /^\$\{([A-Za-z_][A-Za-z0-9_]*)(:?[-+])?/.exec(text.slice(at))
  const end = head === null ? null : bracesEnd(text, at + 2)
  if (head === null || end === null) return null
  const word = text.slice(at + head[0].length, end - 1)
  const [, name = '', operator] = head
  const known = variables.get(name)
  if (operator === undefined) return word === '' ? { value: known ?? '', end } : null
  const other = expand(word, variables, escapeToken)
  if (other === null) return null
  const isSet = known !== undefined && !(operator.startsWith(':') && known === '')
  const value = operator.endsWith('-') ? (isSet ? known : other) : isSet ? other : ''
  return { value, end }
}
