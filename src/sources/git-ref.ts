import { closest } from 'fastest-levenshtein'
import { ShiplockError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { printable } from '../core/printable.ts'
import type { GitAddress } from './git-address.ts'
import type { Git } from './git-command.ts'
import { gitFailure } from './git-failure.ts'
import type { RemoteHeads } from './source.ts'

/** What a ref means at the remote, at this moment. */
export type RemoteTarget =
  | { readonly kind: 'ref'; readonly name: string; readonly commit: string; readonly shown: string }
  /** No branch or tag of that name; it looks like a commit, whole or abbreviated. */
  | { readonly kind: 'commit'; readonly prefix: string; readonly whole: boolean }

interface Lookup {
  readonly git: Git
  readonly address: GitAddress
  /** The address as git is given it. */
  readonly url: string
  readonly signal: AbortSignal
}

const COMMIT = /^[0-9a-f]{7,64}$/
const WHOLE_LENGTHS = new Set([40, 64])

/** Looks a ref up: a branch before a tag of the same name, both before a commit. null = the remote's default branch. */
export async function resolveRemote(lookup: Lookup, ref: string | null): Promise<RemoteTarget> {
  if (ref !== null && WHOLE_LENGTHS.has(ref.length) && COMMIT.test(ref)) return { kind: 'commit', prefix: ref, whole: true }
  const names = ref === null ? ['HEAD'] : ref.startsWith('refs/') ? [ref, `refs/heads/${ref}`] : [`refs/heads/${ref}`, `refs/tags/${ref}`]
  const listed = await listRemote(lookup, ref === null ? ['--symref'] : [], [...names, ...names.map((name) => `${name}^{}`)])
  for (const name of names) {
    // The peeled line of an annotated tag names its commit, the plain one the tag object.
    const commit = listed.commits.get(`${name}^{}`) ?? listed.commits.get(name)
    if (commit !== undefined) return { kind: 'ref', name, commit, shown: listed.head ?? ref ?? name }
  }
  if (ref !== null && COMMIT.test(ref)) return { kind: 'commit', prefix: ref, whole: false }
  throw await refNotFound(lookup, ref)
}

/** The default branch and those that are named, as far as they exist. */
export async function listHeads(lookup: Lookup, branches: readonly string[]): Promise<RemoteHeads> {
  const listed = await listRemote(lookup, ['--symref'], ['HEAD', ...branches.map((branch) => `refs/heads/${branch}`)])
  const found = new Map<string, string>()
  for (const branch of branches) {
    const commit = listed.commits.get(`refs/heads/${branch}`)
    if (commit !== undefined) found.set(branch, commit)
  }
  const tip = listed.commits.get('HEAD')
  if (listed.head !== null && tip !== undefined) found.set(listed.head, tip)
  return { defaultBranch: listed.head, branches: found }
}

export async function refNotFound(lookup: Lookup, ref: string | null): Promise<ShiplockError> {
  const { commits } = await listRemote(lookup, ['--heads', '--tags'], [])
  const known = [...commits.keys()].filter((name) => !name.endsWith('^{}')).map((name) => name.replace(/^refs\/(heads|tags)\//, ''))
  if (known.length === 0) return new ShiplockError('REF_NOT_FOUND', 'the repository is empty: it has no branch and no tag')
  if (ref === null) {
    return new ShiplockError('REF_NOT_FOUND', `the default branch of the repository does not exist; it has ${some(known)}`, {
      hint: 'Name a branch, tag or commit.',
    })
  }
  return new ShiplockError('REF_NOT_FOUND', `the repository has no branch, tag or commit ${ref}; it has ${some(known)}`, {
    hint: `Did you mean ${closest(ref, known).slice(0, LIMITS.refLength)}? If not, push ${ref} first.`,
    details: { ref, known: known.slice(0, 50).map((name) => name.slice(0, LIMITS.refLength)) },
  })
}

function some(names: readonly string[]): string {
  const shown = names
    .slice(0, 8)
    .map((name) => name.slice(0, LIMITS.refLength))
    .join(', ')
  return names.length > 8 ? `${shown} and ${names.length - 8} more` : shown
}

async function listRemote(lookup: Lookup, options: readonly string[], patterns: readonly string[]) {
  const { git, address, url, signal } = lookup
  const result = await git(['ls-remote', ...options, '--', url, ...patterns], { signal })
  if (result.exitCode !== 0) throw gitFailure(`can’t read ${address.url}`, result)
  const commits = new Map<string, string>()
  let head: string | null = null
  for (const line of result.stdout.split('\n')) {
    const [value, given] = line.split('\t')
    if (value === undefined || given === undefined) continue
    const name = printable(given)
    if (value.startsWith('ref: '))
      head = printable(value.slice('ref: '.length))
        .slice(0, LIMITS.refLength)
        .replace(/^refs\/heads\//, '')
    else if (/^[0-9a-f]{40,64}$/.test(value)) commits.set(name, value)
  }
  return { commits, head }
}
