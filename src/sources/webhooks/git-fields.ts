import type { GitRef, HeadCommit, RepositoryHint } from '../../domain/push.ts'
import { findSkipWord } from '../../domain/push.ts'
import { type Fields, wrong } from './fields.ts'
import { harmless, harmlessLines, isHarmless } from './harmless-text.ts'

/** `refs/heads/…` or `refs/tags/…`; otherwise the sentence for the delivery log. */
export function parseRef(ref: string): GitRef | string {
  const match = /^refs\/(heads|tags)\/(.+)$/s.exec(ref)
  const [, folder = '', name = ''] = match ?? []
  if (match === null) return `${harmless(ref)} is neither a branch nor a tag`
  const kind = folder === 'heads' ? 'branch' : 'tag'
  // git itself refuses such names, and a name that was altered to be shown must not equal a configured one.
  if (!isHarmless(name)) return `the name of the ${kind} is too long or holds control characters: ${harmless(name, 60)}`
  return { kind, name }
}

/** A full commit id in lower case; null when missing or all zeros, which is how hosts spell "none". */
export function commitIdOf(fields: Fields, key: string, at: string): string | null {
  const text = fields.optionalText(key)?.toLowerCase() ?? null
  if (text === null || /^0+$/.test(text)) return null
  if (!/^(?:[0-9a-f]{40}|[0-9a-f]{64})$/.test(text)) throw wrong(`${at}.${key}`, 'a commit id')
  return text
}

/** Of a commit object as all hosts write it. */
export function headCommitOf(commit: Fields, at: string): HeadCommit {
  const sha = commitIdOf(commit, 'id', at)
  if (sha === null) throw wrong(`${at}.id`, 'a commit id')
  const message = commit.optionalText('message') ?? ''
  const author = commit.optionalObject('author')
  const name = author?.optionalText('name') ?? author?.optionalText('username') ?? ''
  return { sha, message: harmlessLines(message), author: harmless(name), skipWord: findSkipWord(message) }
}

/** The first name that is given, harmless; null = none. */
export function firstName(...names: readonly (string | null)[]): string | null {
  const found = names.find((name) => name !== null && name !== '') ?? null
  return found === null ? null : harmless(found, 100)
}

/** `keys` name the fields that may hold addresses. */
export function repositoryHint(repository: Fields, nameKey: string, urlKeys: readonly string[]): RepositoryHint {
  const defaultBranch = repository.optionalText('default_branch')
  const urls = urlKeys.flatMap((key) => harmlessUrl(repository.optionalText(key)))
  return {
    name: harmless(repository.optionalText(nameKey) ?? ''),
    defaultBranch: defaultBranch !== null && isHarmless(defaultBranch) ? defaultBranch : null,
    urls: [...new Set(urls)],
  }
}

/** Only plain https, http and ssh addresses, without user, password, query and fragment (I8). */
function harmlessUrl(text: string | null): string[] {
  if (text === null || !isHarmless(text)) return []
  if (/^git@[\w.-]+:[\w./~+-]+$/.test(text)) return [text]
  if (!URL.canParse(text)) return []
  const url = new URL(text)
  if (!['https:', 'http:', 'ssh:'].includes(url.protocol)) return []
  return [`${url.protocol}//${url.host}${url.pathname}`]
}
