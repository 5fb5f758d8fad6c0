import { lstat } from 'node:fs/promises'
import { ShiplockError } from './errors.ts'
import { runCommand } from './exec.ts'

/**
 * Gives a directory and all below it to a user and the group of the same number; links themselves, never what they lead to. The directory
 * itself comes last, so with `unlessOwned` a change of owner that was cut short is done again.
 */
export async function giveTree(directory: string, user: number, unlessOwned = false): Promise<void> {
  if (unlessOwned && (await lstat(directory)).uid === user) return
  const result = await runCommand('/bin/chown', ['-hR', '--', `${user}:${user}`, directory], { env: {} })
  if (result.exitCode !== 0) throw new ShiplockError('INTERNAL', `can't give ${directory} to its user: ${result.stderrTail.join(' ')}`)
}
