import { acquireDirectoryLock } from '../../src/core/directory-lock.ts'
import { eventually } from './eventually.ts'

const TURN_MS = 120_000

/** Runs `work` while no other test process does anything for the same purpose in `directory`, which exists. */
export async function inTurn<Result>(directory: string, purpose: string, work: () => Promise<Result>): Promise<Result> {
  const lock = await eventually(() => acquireDirectoryLock(directory, purpose), { withinMs: TURN_MS })
  try {
    return await work()
  } finally {
    await lock.release()
  }
}
