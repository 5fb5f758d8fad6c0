import { type CST, Parser } from 'yaml'
import { LIMITS } from '../../core/limits.ts'

/**
 * Why this text is not given to the composer; null when it may be. The composer calls itself once per level and compares every key
 * with every other, so deep or wide input would end the process (V8 dies when a regular expression is compiled on an exhausted stack)
 * or hold it up for seconds. The parser below does neither: it keeps its own stack, and so does this walk over its tokens.
 */
export function yamlBoundsProblem(text: string): string | null {
  const spent = { items: 0, tokens: 0 }
  for (const top of new Parser().parse(text)) {
    const open: Level[] = [{ token: top, depth: 0 }]
    for (let level = open.pop(); level !== undefined; level = open.pop()) {
      if (level.depth > LIMITS.configDepth) return 'it is nested too deeply'
      open.push(...below(level, spent))
      if (spent.items > LIMITS.configNodes || spent.tokens > LIMITS.configTokens) return 'it holds too much'
    }
  }
  return null
}

interface Level {
  readonly token: CST.Token
  readonly depth: number
}

function below({ token, depth }: Level, spent: { items: number; tokens: number }): Level[] {
  spent.tokens += 1
  if (token.type === 'document') return token.value === undefined ? [] : [{ token: token.value, depth }]
  if (!('items' in token)) return []
  const levels: Level[] = []
  for (const item of token.items as CST.CollectionItem[]) {
    spent.items += 1
    spent.tokens += item.start.length + (item.sep?.length ?? 0)
    if (item.key != null) levels.push({ token: item.key, depth: depth + 1 })
    if (item.value != null) levels.push({ token: item.value, depth: depth + 1 })
    if (spent.items > LIMITS.configNodes) break
  }
  return levels
}
