import { writeFileSync } from 'node:fs'
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { killGroup } from '../core/exec.ts'
import { identify, isAlive, type ProcessIdentity } from '../core/process-identity.ts'

const FILE = 'running.json'
const KILL_GRACE_MS = 2000

/** Notes who scans in that work directory: a server that is killed leaves the program running, and its successor ends it (I5). */
export function noteRunning(workDirectory: string, pid: number): void {
  const identity = identify(pid)
  if (identity !== null) writeFileSync(join(workDirectory, FILE), JSON.stringify(identity))
}

/** Ends what an earlier server left running there and removes the directory; nothing there is success. */
export async function clearWork(workDirectory: string): Promise<void> {
  const text = await readFile(join(workDirectory, FILE), 'utf8').catch(() => null)
  const left = text === null ? null : parse(text)
  if (left !== null && isAlive(left)) await killGroup(left.pid, KILL_GRACE_MS)
  await rm(workDirectory, { recursive: true, force: true })
}

/** Half a file is what a crash while it was written leaves. */
function parse(text: string): ProcessIdentity | null {
  try {
    const { pid, startTicks, bootId } = JSON.parse(text) as Partial<ProcessIdentity>
    return typeof pid === 'number' && typeof startTicks === 'string' && typeof bootId === 'string' ? { pid, startTicks, bootId } : null
  } catch {
    return null
  }
}
