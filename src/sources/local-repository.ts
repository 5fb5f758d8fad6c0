import { readdir, realpath, stat } from 'node:fs/promises'
import { join, sep } from 'node:path'
import { ShiplockError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { printable } from '../core/printable.ts'

/** Which paths of this host may be sources. */
export interface LocalRepositories {
  /** Named by the server's owner; empty = no path is a source. */
  readonly directories: readonly string[]
  /** The server's own; nothing in them and nothing around them is a source. */
  readonly forbidden: readonly string[]
}

/** Says beforehand what `findLocalRepository` would not let pass, as far as that can be told from the text. Throws SOURCE_REFUSED. */
export function assertNamedDirectory(path: string, { directories }: LocalRepositories): void {
  if (directories.length === 0) {
    throw refused(path, 'is a path on the server, which this server does not allow', 'Upload the directory, or use an https or ssh URL.')
  }
}

/**
 * The directory that holds the repository's objects, in its real place: below a directory that was named, outside of the server's own.
 * A repository that leads elsewhere (links, alternates, a worktree's `.git` file) is refused: what lies there was not named.
 * Throws SOURCE_REFUSED, SOURCE_NOT_FOUND.
 */
export async function findLocalRepository(path: string, rules: LocalRepositories): Promise<string> {
  assertNamedDirectory(path, rules)
  const named = await Promise.all(rules.directories.map((directory) => realpath(directory).catch(() => directory)))
  const forbidden = await Promise.all(rules.forbidden.map((directory) => realpath(directory).catch(() => directory)))
  for (const candidate of [path, `${path.replace(/\/+$/, '')}.git`]) {
    const real = await realpath(candidate).catch(() => null)
    // Nothing is said of what exists elsewhere.
    if (real === null || !named.some((directory) => isWithin(real, directory))) continue
    if (forbidden.some((directory) => isWithin(real, directory) || isWithin(directory, real))) continue
    const repository = await repositoryIn(real)
    if (repository === null) continue
    await assertPlain(repository, path)
    return repository
  }
  throw new ShiplockError('SOURCE_NOT_FOUND', `there is no repository at ${shown(path)} that may be a source`, {
    hint: 'It has to lie in one of the directories of SHIPLOCK_FILE_SOURCE_DIRECTORIES, in its real place, and not in the server’s data directory.',
  })
}

function isWithin(path: string, directory: string): boolean {
  return path === directory || path.startsWith(directory.endsWith(sep) ? directory : `${directory}${sep}`)
}

/** Of a working tree its `.git`, of a bare repository itself. */
async function repositoryIn(directory: string): Promise<string | null> {
  for (const candidate of [join(directory, '.git'), directory]) {
    const parts = await Promise.all(['HEAD', 'objects', 'refs'].map((name) => stat(join(candidate, name)).catch(() => null)))
    if (parts[0]?.isFile() && parts[1]?.isDirectory() && parts[2]?.isDirectory()) return candidate
  }
  return null
}

const LEADS_ELSEWHERE = new Set(['commondir', 'objects/info/alternates', 'objects/info/http-alternates'])
/** Of no meaning to whoever reads the objects. */
const NOT_READ = new Set(['hooks', 'worktrees', 'modules', 'lfs'])

/** Nothing in it is a link or leads elsewhere by its content. */
async function assertPlain(repository: string, path: string): Promise<void> {
  if (await isLink(repository)) throw leadsElsewhere(path, '.git')
  let entries = 0
  const waiting = ['']
  for (let at = waiting.pop(); at !== undefined; at = waiting.pop()) {
    for (const entry of await readdir(join(repository, at), { withFileTypes: true })) {
      const name = at === '' ? entry.name : `${at}/${entry.name}`
      entries += 1
      if (entries > LIMITS.gitEntries) throw refused(path, `is a repository of more than ${LIMITS.gitEntries} files`, 'Pack it: `git gc`.')
      if (NOT_READ.has(name)) continue
      if (LEADS_ELSEWHERE.has(name) || !(entry.isFile() || entry.isDirectory())) throw leadsElsewhere(path, name)
      if (entry.isDirectory()) waiting.push(name)
    }
  }
}

async function isLink(directory: string): Promise<boolean> {
  return (await realpath(directory)) !== directory
}

function leadsElsewhere(path: string, name: string): ShiplockError {
  return refused(
    path,
    `is a repository whose ${shown(name)} leads elsewhere`,
    'Give a plain repository: `git clone --bare --no-local` makes one of any.',
  )
}

function refused(path: string, reason: string, hint: string): ShiplockError {
  return new ShiplockError('SOURCE_REFUSED', `source.url ${reason}: ${shown(path)}`, {
    hint,
    details: { field: 'url', value: shown(path) },
  })
}

function shown(text: string): string {
  return printable(text.slice(0, 200))
}
