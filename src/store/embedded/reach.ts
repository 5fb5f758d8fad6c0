import { stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Account } from './account.ts'

const EXECUTE = 1

/**
 * The topmost directory on the way to `path` (itself included) that the account may not pass through; null when it can get there.
 * Looks at owner, group and mode only.
 */
export async function firstBarrier(path: string, account: Account): Promise<string | null> {
  const chain: string[] = []
  for (let at = path; ; at = dirname(at)) {
    chain.unshift(at)
    if (at === dirname(at)) break
  }
  for (const directory of chain) {
    const { uid, gid, mode } = await stat(directory)
    const shift = uid === account.uid ? 6 : gid === account.gid ? 3 : 0
    if (((mode >> shift) & EXECUTE) === 0) return directory
  }
  return null
}
