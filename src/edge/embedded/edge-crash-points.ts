import { readFileSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'

/** Places between the steps of a change of the table where `test/crash/` kills the edge: its primary, or the worker that is there first. */
export const EDGE_CRASH_POINTS = [
  'change.computed',
  'change.written-not-committed',
  'change.committed-not-acknowledged',
  'worker.prepared',
  'worker.committed-not-told',
] as const
export type EdgeCrashPoint = (typeof EDGE_CRASH_POINTS)[number]

/** Armed by a test that leaves a point's name in this file of the state directory before the edge starts. Otherwise inert. */
export const CRASH_AT_FILE = 'crash-at'

/** Dies as by `kill -9` at the armed point, once: whoever fires takes the file away, so its successor lives. */
export function edgeCrashPoints(stateDirectory: string): (point: EdgeCrashPoint) => void {
  const file = join(stateDirectory, CRASH_AT_FILE)
  const armed = readArmed(file)
  return (point) => {
    if (armed !== point) return
    try {
      unlinkSync(file)
    } catch {
      return
    }
    process.kill(process.pid, 'SIGKILL')
  }
}

function readArmed(file: string): string | null {
  try {
    return readFileSync(file, 'utf8').trim()
  } catch {
    return null
  }
}
