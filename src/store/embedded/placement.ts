import { createHash, randomBytes } from 'node:crypto'
import { chmod, lchown, lstat, mkdir, mkdtemp, readFile, realpath, rmdir, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { writeFileAtomic } from '../../core/atomic-file.ts'
import { type Account, chooseAccount } from './account.ts'
import { explainFileError, unavailable } from './failure.ts'
import { firstBarrier } from './reach.ts'

/** Where root puts databases and programs whose data directory the account can't reach. Must be reachable itself and survive a reboot. */
export const SHARED_BASE = '/var/lib/shiplock-db'

export interface Placement {
  /**
   * Everything of the database is in here. Where root runs the server this is root's: what root writes (settings, log) is not in a
   * directory whose account could put links in the way.
   */
  readonly directory: string
  /** PostgreSQL's own data directory: the account's, 0700. */
  readonly cluster: string
  /** For the socket: the account's, 0700. */
  readonly sockets: string
  readonly logFile: string
  readonly account: Account
  /** The directory that kept the database out of the data directory; null when it is inside. */
  readonly barrier: string | null
}

const POINTER = 'postgres.location.json'

interface Pointer {
  readonly directory: string
  readonly barrier: string
}

/** Where the database of this data directory is, or will be. Makes nothing. */
export async function findPlacement(dataDirectory: string, sharedBase: string = SHARED_BASE): Promise<Placement & { isNew: boolean }> {
  const data = await realpath(dataDirectory)
  const pointer = await readPointer(join(data, POINTER))
  if (pointer !== null) return describe(pointer.directory, pointer.barrier)
  const inside = join(data, 'postgres')
  const existing = await describe(inside, null)
  const barrier = await firstBarrier(data, existing.account)
  if (barrier === null) return existing
  if (!existing.isNew) {
    throw unavailable(
      `the database in ${inside} belongs to ${nameOf(existing.account)}, who can't pass through ${barrier}`,
      `Allow it (chmod o+x ${barrier}), or move the data directory.`,
    )
  }
  // Random besides the hash: a data directory that was deleted and made anew must not find the old one's database.
  const name = `${createHash('sha256').update(data).digest('hex').slice(0, 12)}-${randomBytes(3).toString('hex')}`
  return { ...(await describe(join(sharedBase, name), barrier)), isNew: true }
}

async function describe(directory: string, barrier: string | null): Promise<Placement & { isNew: boolean }> {
  const place = await lstat(directory).catch(() => null)
  if (place !== null && !place.isDirectory()) {
    throw unavailable(`${directory} is not a directory`, 'Move it away: the embedded database wants this place.')
  }
  const sockets = join(directory, 'run')
  const owner = place === null ? null : await lstat(sockets).catch(() => place)
  const account = await chooseAccount(owner === null ? null : { uid: owner.uid, gid: owner.gid })
  if (owner !== null && account.isSelf && owner.uid !== account.uid) {
    throw unavailable(
      `the database in ${directory} belongs to user id ${owner.uid}, Shiplock runs as ${account.uid}`,
      'Run it as before (as root, if root made it), or give the whole directory to this user.',
    )
  }
  const paths = { directory, cluster: join(directory, 'data'), sockets, logFile: join(directory, 'postgres.log') }
  return { ...paths, account, barrier, isNew: place === null }
}

/** Makes what `findPlacement` found. */
export async function preparePlacement(dataDirectory: string, sharedBase: string = SHARED_BASE): Promise<Placement> {
  const placement = await findPlacement(dataDirectory, sharedBase)
  const { directory, account, barrier } = placement
  try {
    if (barrier !== null && placement.isNew) {
      await mkdir(sharedBase, { recursive: true, mode: 0o755 })
      const above = await firstBarrier(await realpath(sharedBase), account)
      if (above !== null) throw unavailable(`${nameOf(account)} can't pass through ${above}`, `Allow it: chmod o+x ${above}.`)
      // Before the place exists, so that no crash leaves a database that nothing points at.
      const pointer: Pointer = { directory, barrier }
      await writeFileAtomic(join(await realpath(dataDirectory), POINTER), `${JSON.stringify(pointer)}\n`)
    }
    await mkdir(directory, { recursive: true })
    await chmod(directory, account.isSelf ? 0o700 : 0o711)
    await makePrivate(placement.sockets, account)
  } catch (error) {
    throw explainFileError('prepare the database directory', directory, error)
  }
  return placement
}

/** An empty directory that only the account can enter; one that is there already stays as it is, unless a kill came before it was given away. */
export async function makePrivate(directory: string, account: Account): Promise<void> {
  try {
    await mkdir(directory, { mode: 0o700 })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    const facts = await lstat(directory)
    if (!facts.isDirectory() || facts.uid !== process.getuid?.()) return
  }
  if (!account.isSelf) await lchown(directory, account.uid, account.gid)
}

async function readPointer(file: string): Promise<Pointer | null> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null
    throw explainFileError('read where the database is', file, error)
  })
  if (text === null) return null
  try {
    const { directory, barrier } = JSON.parse(text) as Partial<Pointer>
    if (typeof directory === 'string' && typeof barrier === 'string') return { directory, barrier }
  } catch {
    // Said below.
  }
  throw unavailable(`${file} is damaged`, 'It should hold {"directory": …} with the place of the database.')
}

/** `sockaddr_un.sun_path` holds 108 bytes with the final zero; the smallest of the systems we run on (macOS) holds 104. */
const SOCKET_PATH_MAX = process.platform === 'linux' ? 107 : 103
const SOCKET_NAME = '/.s.PGSQL.5432'

/**
 * A directory for the private socket: the placement's, or a short one under the temporary directory where that path is too long.
 * @param former the one a previous run recorded (postmaster.pid, line 5), taken again if it is still ours
 */
export async function socketDirectory(placement: Placement, former: string | null): Promise<string> {
  const { directory, sockets, account } = placement
  if (Buffer.byteLength(sockets + SOCKET_NAME) <= SOCKET_PATH_MAX) return sockets
  if (former !== null && (await isPrivate(former, account))) return former
  for (const base of [tmpdir(), '/tmp']) {
    if (Buffer.byteLength(`${base}/shiplock-pg-XXXXXX${SOCKET_NAME}`) > SOCKET_PATH_MAX) continue
    if ((await firstBarrier(await realpath(base), account)) !== null) continue
    const made = await mkdtemp(join(base, 'shiplock-pg-'))
    if (!account.isSelf) await lchown(made, account.uid, account.gid)
    return made
  }
  throw unavailable(`the path ${directory} is too long for a socket, and /tmp can't be used instead`, 'Choose a shorter data directory.')
}

/** Removes a socket directory that was made beside the placement. */
export async function removeSocketDirectory(placement: Placement, directory: string): Promise<void> {
  if (directory !== placement.sockets && (await isPrivate(directory, placement.account))) await rmdir(directory).catch(() => {})
}

/** The account wrote the path down itself: only a directory that is its own may be touched for it. */
export async function isPrivate(directory: string, account: Account): Promise<boolean> {
  const found = await lstat(directory).catch(() => null)
  return found?.isDirectory() === true && found.uid === account.uid && (found.mode & 0o777) === 0o700
}

export function nameOf(account: Account): string {
  return account.name ?? `user id ${account.uid}`
}

/** Bytes free for ordinary users on the volume of the placement's nearest existing parent. */
export async function existingParent(path: string): Promise<string> {
  for (let at = path; ; at = dirname(at)) {
    if ((await stat(at).catch(() => null)) !== null || at === dirname(at)) return at
  }
}
