import type { RedirectOption } from './site-options.ts'

const STATUS = /^(\d{3})(!?)$/
const STATUSES = new Set([200, 301, 302, 303, 307, 308, 404])

/** Netlify's `_redirects`: `from to [status][!]`. What else it can is named in the notes, never half done. */
export function readRedirectsFile(text: string, notes: string[]): RedirectOption[] {
  const found: RedirectOption[] = []
  for (const [index, line] of text
    .replace(/^\ufeff/, '')
    .split(/\r?\n/)
    .entries()) {
    const words = line
      .replace(/(^|\s)#.*$/, '')
      .trim()
      .split(/\s+/)
    if (words[0] === '' || words[0] === undefined) continue
    const rule = readRule(words)
    if (typeof rule === 'string') notes.push(`_redirects:${index + 1} is not taken over: ${rule}`)
    else found.push(rule)
  }
  return found
}

/** A text = why not. */
function readRule(words: readonly string[]): RedirectOption | string {
  const [from = '', ...rest] = words
  if (!from.startsWith('/')) return 'it begins with an address; only paths of the site itself are redirected'
  const at = rest.findIndex((word) => word.startsWith('/') || /^https?:\/\//.test(word))
  if (at > 0) return 'conditions on the query are not supported'
  if (at === -1) return 'it names no target'
  const [to = '', given = '301', ...conditions] = rest
  const [, digits = '', mark] = STATUS.exec(given) ?? []
  if (!STATUSES.has(Number(digits))) return `${given.slice(0, 40)} is no status that is supported`
  if (conditions.length > 0) return 'conditions on country, language, role or cookie are not supported'
  if (Number(digits) === 200 && !to.startsWith('/')) return 'requests are not passed on to other servers'
  if (Number(digits) === 404 && !to.startsWith('/')) return 'a page for 404 has to be one of the site'
  return { from, to, status: Number(digits), force: mark === '!' }
}
