import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { killGroup } from '../../core/exec.ts'
import { allPids, processStat } from '../../core/process-identity.ts'

const VARIABLE = 'SHIPLOCK_BUILD'

export interface BuildMark {
  readonly env: Readonly<Record<string, string>>
}

/** Stands in the environment of a build's client, so that a server that comes after a crash finds it. */
export function markOf(key: string, workDirectory: string): BuildMark {
  const place = createHash('sha256').update(workDirectory).digest('hex').slice(0, 16)
  return { env: { [VARIABLE]: `${place}/${key.replace(/[^A-Za-z0-9_.-]/g, '_')}` } }
}

/** Ends clients that a killed server left; with its client gone the engine gives a build up. Nothing there is success. */
export async function endBuildProcesses(mark: BuildMark): Promise<void> {
  const wanted = `${VARIABLE}=${mark.env[VARIABLE]}`
  for (const pid of pids()) {
    if (pid === process.pid || !environmentOf(pid).includes(wanted)) continue
    const group = processStat(pid)?.group
    if (group !== undefined) await killGroup(group, 0)
  }
}

function pids(): readonly number[] {
  try {
    return allPids()
  } catch {
    // Without /proc they end by themselves, when their build does.
    return []
  }
}

function environmentOf(pid: number): readonly string[] {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0')
  } catch {
    return []
  }
}
