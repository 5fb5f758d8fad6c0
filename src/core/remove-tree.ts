import { chmod, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'

const ATTEMPTS = 5
const BLOCKED_BY_MODE = new Set(['EACCES', 'EPERM', 'ENOTEMPTY'])

/** Removes a tree whatever its modes are; a missing one is success. Links are removed, never followed. */
export async function removeTree(path: string): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await rm(path, { recursive: true, force: true, maxRetries: 3 })
    } catch (error) {
      if (attempt === ATTEMPTS || !BLOCKED_BY_MODE.has((error as NodeJS.ErrnoException).code ?? '')) throw error
    }
    await unlock(path)
  }
}

/**
 * Makes every directory writable for its owner, so that an ordinary user can empty read-only ones. What vanishes meanwhile is fine:
 * a failed `rm` answers at its first error, while its other branches go on removing.
 */
async function unlock(directory: string): Promise<void> {
  const entries = await chmod(directory, 0o700)
    .then(() => readdir(directory, { withFileTypes: true }))
    .catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return []
      throw error
    })
  for (const entry of entries) if (entry.isDirectory()) await unlock(join(directory, entry.name))
}
