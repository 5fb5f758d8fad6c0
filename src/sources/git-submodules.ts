import { lstat, rename, rmdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { ShiplockError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { printable } from '../core/printable.ts'
import { type GitAddress, parseGitAddress } from './git-address.ts'
import type { Git } from './git-command.ts'
import { gitFailure } from './git-failure.ts'

/** A commit of another repository within a tree. */
export interface SubmoduleLink {
  readonly path: string
  readonly commit: string
}

export interface Submodule extends SubmoduleLink {
  readonly address: GitAddress
}

/** Where `.gitmodules` of that commit says that they come from. One without an address can't be built with: refused. */
export async function readSubmodules(
  git: Git,
  options: { readonly commit: string; readonly links: readonly SubmoduleLink[]; readonly parent: GitAddress; readonly signal: AbortSignal },
): Promise<readonly Submodule[]> {
  const { commit, links, parent, signal } = options
  if (links.length === 0) return []
  if (links.length > LIMITS.gitSubmodules) throw refused(`there are more than ${LIMITS.gitSubmodules} submodules`)
  const urls = await addressesByPath(git, commit, signal)
  return links.map(({ path, commit: wanted }) => {
    const url = urls.get(path)
    if (url === undefined) throw refused(`the submodule ${shown(path)} has no address in .gitmodules`)
    return { path, commit: wanted, address: submoduleAddress(url, parent, path) }
  })
}

/** From the object, not from the checkout, and without the files that it might include. */
async function addressesByPath(git: Git, commit: string, signal: AbortSignal): Promise<ReadonlyMap<string, string>> {
  const args = ['config', '--no-includes', '--blob', `${commit}:.gitmodules`, '--null', '--list']
  const result = await git(args, { signal })
  // Without that file nothing is known of any of them.
  if (result.exitCode !== 0 && !result.stderrTail.join('\n').includes('.gitmodules')) throw gitFailure('can’t read .gitmodules', result)
  const modules = new Map<string, { path?: string; url?: string }>()
  for (const entry of result.exitCode === 0 ? result.stdout.split('\0') : []) {
    const [, name = '', key = '', value = ''] = /^submodule\.([^\n]*)\.(path|url)\n([\s\S]*)$/.exec(entry) ?? []
    if (key !== '') modules.set(name, { ...modules.get(name), [key]: value })
  }
  return new Map([...modules.values()].flatMap(({ path, url }) => (path === undefined || url === undefined ? [] : [[path, url] as const])))
}

/**
 * The same rules as for the repository itself, for its host as well. A path of this machine is for its administrator to name: a repository
 * names one only relative to its own, where it lies on this machine itself.
 */
function submoduleAddress(url: string, parent: GitAddress, path: string): GitAddress {
  const isRelative = /^\.\.?\//.test(url)
  const address = parseGitAddress(isRelative ? relativeTo(parent, url) : url)
  if (address.protocol === 'file' && !(isRelative && parent.protocol === 'file')) {
    throw refused(`the submodule ${shown(path)} is at a path of the server, which a repository may not name`)
  }
  return address
}

/** As git reads them: the repository is a directory, a slash at its end or not. */
function relativeTo(parent: GitAddress, url: string): string {
  const base = new URL(parent.url.replace(/\/*$/, '/'))
  const target = new URL(url, base)
  if (target.host !== base.host || target.protocol !== base.protocol)
    throw refused(`the address ${shown(url)} of a submodule leads elsewhere`)
  return target.href
}

/** Puts what was fetched where the tree has its link. Nobody else works in the tree any more; links in it are not followed all the same. */
export async function placeSubmodule(tree: string, path: string, fetched: string): Promise<void> {
  const target = join(tree, path)
  for (let at = target; at.length > tree.length; at = dirname(at)) {
    const found = await lstat(at).catch(() => null)
    if (found === null || !found.isDirectory()) throw refused(`the place of the submodule ${shown(path)} is no directory`)
  }
  await rmdir(target)
  await rename(fetched, target)
}

function shown(text: string): string {
  return printable(text.slice(0, 200))
}

function refused(message: string): ShiplockError {
  return new ShiplockError('SOURCE_REFUSED', message, {
    hint: 'Correct .gitmodules, or upload the directory with its submodules in it: `git submodule update --init`, then `shiplock deploy .`.',
  })
}
