import { randomBytes } from 'node:crypto'
import { chmod, mkdir, readdir, readFile, rename, rm, rmdir, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { syncDirectory } from '../../core/atomic-file.ts'
import { runCommand } from '../../core/exec.ts'
import { LIMITS } from '../../core/limits.ts'
import { credentials } from './account.ts'
import type { Binaries } from './binaries.ts'
import { explainFileError, explainOutput, unavailable } from './failure.ts'
import { makePrivate, type Placement } from './placement.ts'
import { DATABASE_USER } from './settings.ts'

const UNFINISHED = 'init-'

/** Makes the cluster where there is none; refuses one of another major version. An initdb that was cut leaves nothing that counts. */
export async function ensureCluster(placement: Placement, binaries: Binaries, major: number): Promise<{ isNew: boolean }> {
  await removeUnfinished(placement)
  const found = await stat(placement.cluster).catch(() => null)
  if (found === null) {
    await initialize(placement, binaries)
    return { isNew: true }
  }
  const version = await readFile(join(placement.cluster, 'PG_VERSION'), 'utf8').catch(() => null)
  if (version === null) {
    throw unavailable(`${placement.cluster} is not a PostgreSQL database`, 'Move it away, or restore the database from a backup.')
  }
  if (!/^\d+$/.test(version.trim())) throw unavailable(`${placement.cluster} is not a PostgreSQL database`, 'Move it away.')
  if (Number(version.trim()) !== major) {
    throw unavailable(
      `the database in ${placement.cluster} was made by PostgreSQL ${version.trim()}, this is ${major}`,
      `Dump it with the version of Shiplock that made it, move ${placement.directory} away, start again and load the dump.`,
    )
  }
  return { isNew: false }
}

async function removeUnfinished(placement: Placement): Promise<void> {
  for (const name of await readdir(placement.directory)) {
    if (name.startsWith(UNFINISHED)) await removeWork(placement, join(placement.directory, name))
  }
}

/**
 * Root deletes no tree that belongs to somebody else: the account deletes its own. What can't be removed yet (an initdb that outlived its
 * server still writes) is removed by the next start.
 */
async function removeWork({ account }: Placement, work: string): Promise<void> {
  const fresh = join(work, 'data')
  if (account.isSelf) return rm(work, { recursive: true, force: true, maxRetries: 3 }).catch(() => {})
  await runCommand('rm', ['-rf', '--', fresh], { env: { PATH }, cwd: '/', ...credentials(account) }).catch(() => {})
  await rmdir(fresh).catch(() => {})
  await rm(join(work, 'bin'), { recursive: true, force: true }).catch(() => {})
  for (const part of ['lib', 'share']) await rm(join(work, part), { force: true }).catch(() => {})
  await rmdir(work).catch(() => {})
}

const PATH = '/usr/local/bin:/usr/bin:/bin'

async function initialize(placement: Placement, binaries: Binaries): Promise<void> {
  const { account, directory, cluster } = placement
  const work = join(directory, `${UNFINISHED}${randomBytes(4).toString('hex')}`)
  const fresh = join(work, 'data')
  try {
    await mkdir(work)
    await chmod(work, 0o711)
    await makePrivate(fresh, account)
    const initdb = account.name === null ? await namelessInitdb(binaries, work) : binaries.initdb
    const result = await runCommand(initdb, initdbArguments(fresh), {
      env: { PATH, LC_ALL: 'C', TZ: 'UTC' },
      cwd: '/',
      timeoutMs: LIMITS.databaseStartMs,
      ...credentials(account),
    })
    if (result.timedOut) throw unavailable(`making the database in ${directory} took too long`, 'Try again on a less busy machine.')
    if (result.exitCode !== 0) throw explainOutput('making the database', directory, [...result.stdout.split('\n'), ...result.stderrTail])
    await rename(fresh, cluster)
    await syncDirectory(directory)
  } catch (error) {
    throw explainFileError('make the database', directory, error)
  } finally {
    await removeWork(placement, work)
  }
}

/** The collation is PostgreSQL's own, so that an upgrade of the system's C library can't break indexes. */
function initdbArguments(directory: string): string[] {
  const locale = ['--encoding=UTF8', '--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8']
  return ['-D', directory, '-U', DATABASE_USER, '--auth=peer', '--no-instructions', ...locale]
}

/**
 * initdb insists on a name for its user id (`getpwuid`) even when it never uses it, and `docker run --user 12345` has none. Copies
 * of the two programs that look up the first entry of the user database instead, for the time of this one run.
 */
async function namelessInitdb(binaries: Binaries, work: string): Promise<string> {
  const bin = join(work, 'bin')
  await mkdir(bin)
  await chmod(bin, 0o755)
  for (const part of ['lib', 'share']) await symlink(join(binaries.directory, part), join(work, part))
  for (const program of [binaries.initdb, binaries.postgres]) {
    const image = await readFile(program)
    const position = image.indexOf('\0getpwuid\0')
    if (position === -1) throw unavailable('the user id Shiplock runs as has no name on this system', 'Add a line for it to /etc/passwd.')
    image.write('getpwent', position + 1, 'latin1')
    const copy = join(bin, program === binaries.initdb ? 'initdb' : 'postgres')
    await writeFile(copy, image)
    await chmod(copy, 0o755)
  }
  return join(bin, 'initdb')
}
