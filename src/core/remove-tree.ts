import { chmod, lstat, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'

/** Removes a tree whatever its modes are; a missing one is success. Links are removed, never followed. */
export async function removeTree(path: string): Promise<void> {
  try {
    await rm(path, { recursive: true, force: true, maxRetries: 3 })
  } catch (error) {
    if (!BLOCKED_BY_MODE.has((error as NodeJS.ErrnoException).code ?? '')) throw error
    await unlock(path)
    await rm(path, { recursive: true, force: true, maxRetries: 3 })
  }
}
const BLOCKED_BY_MODE = new Set(['EACCES', 'EPERM', 'ENOTEMPTY'])

/** Makes every directory writable for its owner, so that an ordinary user can empty read-only ones. */
async function unlock(path: string): Promise<void> {
  const stat = await lstat(path).catch(() => null)
  if (stat === null || !stat.isDirectory()) return
  await chmod(path, 0o700)
  for (const entry of await readdir(path, { withFileTypes: true })) {
    if (entry.isDirectory()) await unlock(join(path, entry.name))
  }
}
