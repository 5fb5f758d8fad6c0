import { readFile } from 'node:fs/promises'
import { userInfo } from 'node:os'

/** The operating-system account that owns the database files and runs PostgreSQL. */
export interface Account {
  readonly uid: number
  readonly gid: number
  /** Null when the system has no name for it. */
  readonly name: string | null
  /** Runs as we do: no change of uid is needed. */
  readonly isSelf: boolean
}

/** What Linux uses for "nobody" where /etc/passwd has no such line. */
const OVERFLOW_ID = 65534

/**
 * PostgreSQL refuses root. Root therefore runs it as whoever owns the database already, otherwise as `nobody`; anybody else as themselves.
 * @param owner of an existing database directory
 */
export async function chooseAccount(owner: { uid: number; gid: number } | null): Promise<Account> {
  const uid = process.getuid?.() ?? 0
  const gid = process.getgid?.() ?? 0
  if (uid !== 0) return { uid, gid, name: ownName(), isSelf: true }
  const accounts = await readPasswd()
  if (owner !== null && owner.uid !== 0) {
    return { ...owner, name: accounts.find((entry) => entry.uid === owner.uid)?.name ?? null, isSelf: false }
  }
  const nobody = accounts.find((entry) => entry.name === 'nobody') ?? accounts.find((entry) => entry.uid === OVERFLOW_ID)
  return { uid: OVERFLOW_ID, gid: OVERFLOW_ID, name: null, ...nobody, isSelf: false }
}

/** Null for a uid without a name (`docker run --user 12345`). */
export function ownName(): string | null {
  try {
    return userInfo().username
  } catch {
    return null
  }
}

async function readPasswd(): Promise<{ name: string; uid: number; gid: number }[]> {
  const text = await readFile('/etc/passwd', 'utf8').catch(() => '')
  return text.split('\n').flatMap((line) => {
    const [name = '', , uid = '', gid = ''] = line.split(':')
    return /^\d+$/.test(uid) && /^\d+$/.test(gid) && uid !== '0' ? [{ name, uid: Number(uid), gid: Number(gid) }] : []
  })
}

/** uid and gid as child-process options; empty when nothing changes (setting them needs privileges even then). */
export function credentials(account: Account): { uid?: number; gid?: number } {
  return account.isSelf ? {} : { uid: account.uid, gid: account.gid }
}
