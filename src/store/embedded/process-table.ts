import { execFile } from 'node:child_process'
import { readdir, readFile, stat } from 'node:fs/promises'
import { promisify } from 'node:util'

export interface RunningProcess {
  readonly pid: number
  readonly uid: number
  /** Arguments joined by spaces; PostgreSQL's children put their title here. */
  readonly command: string
}

/** Whether a process of this id runs. One that has ended but that nobody has waited for (a zombie) does not. */
export async function isRunning(pid: number): Promise<boolean> {
  try {
    process.kill(pid, 0)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false
  }
  if (process.platform !== 'linux') return true
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  // The name in parentheses may hold anything; the state follows the last one.
  return text !== '' && !/^[ZX]/.test(text.slice(text.lastIndexOf(')') + 2))
}

/** Only what every user may read: containers deny root `/proc/<pid>/cwd` and `exe` of other users. */
export async function readProcess(pid: number): Promise<RunningProcess | null> {
  if (process.platform !== 'linux') return (await listByPs()).find((entry) => entry.pid === pid) ?? null
  try {
    const [text, { uid }] = await Promise.all([readFile(`/proc/${pid}/cmdline`, 'utf8'), stat(`/proc/${pid}`)])
    const command = text.replaceAll('\0', ' ').trim()
    return command === '' ? null : { pid, uid, command }
  } catch {
    return null
  }
}

export async function listProcesses(): Promise<RunningProcess[]> {
  if (process.platform !== 'linux') return listByPs()
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number)
  return (await Promise.all(pids.map(readProcess))).filter((entry) => entry !== null)
}

async function listByPs(): Promise<RunningProcess[]> {
  const { stdout } = await promisify(execFile)('ps', ['-axww', '-o', 'pid=,uid=,command='])
  return stdout.split('\n').flatMap((line) => {
    const [, pid, uid, command = ''] = /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line) ?? []
    return pid === undefined || uid === undefined ? [] : [{ pid: Number(pid), uid: Number(uid), command }]
  })
}

/** Sends a signal; a process that is gone is fine. */
export function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}
