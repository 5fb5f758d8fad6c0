import { mkdir } from 'node:fs/promises'
import type { Clock } from '../core/clock.ts'
import { acquireDirectoryLock, type DirectoryLock } from '../core/directory-lock.ts'
import { isShiplockError } from '../core/errors.ts'

const LOOK_AGAIN_MS = 200

/**
 * One user of a cache directory at a time, on this host: Trivy's layer cache gives up after five seconds behind another process, and two
 * that fetch a database into one directory spoil it. Waits until the signal aborts; `onWait` is told once.
 */
export async function withTurn<Result>(
  directory: string,
  options: { readonly clock: Clock; readonly signal: AbortSignal; readonly onWait: () => void },
  work: () => Promise<Result>,
): Promise<Result> {
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const lock = await takeTurn(directory, options)
  try {
    return await work()
  } finally {
    await lock.release()
  }
}

async function takeTurn(directory: string, { clock, signal, onWait }: Parameters<typeof withTurn>[1]): Promise<DirectoryLock> {
  for (let look = 1; ; look++) {
    signal.throwIfAborted()
    try {
      return await acquireDirectoryLock(directory, 'scan')
    } catch (error) {
      if (!isShiplockError(error, 'DATA_DIRECTORY_LOCKED')) throw error
      if (look === 1) onWait()
      await clock.sleep(LOOK_AGAIN_MS, signal)
    }
  }
}
