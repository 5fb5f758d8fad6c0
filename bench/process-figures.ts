import { readFileSync } from 'node:fs'
import { allPids, processStat } from '../src/core/process-identity.ts'

const TICKS_PER_SECOND = 100

export interface Memory {
  /** Resident, each process for itself: pages that several share count several times. MiB. */
  readonly rss: number
  /** Proportional: shared pages are divided among those that map them. What a machine really spends. MiB. */
  readonly pss: number
  readonly processes: number
}

/** Processes that ended meanwhile count nothing. */
export function memoryOf(pids: readonly number[]): Memory {
  const figures = pids.map((pid) => read(`/proc/${pid}/smaps_rollup`)).filter((text) => text !== '')
  const sum = (field: string) =>
    figures.reduce((total, text) => total + Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0), 0)
  return { rss: sum('Rss') / 1024, pss: sum('Pss') / 1024, processes: figures.length }
}

/** CPU seconds spent so far, user and system. */
export function cpuSecondsOf(pids: readonly number[]): number {
  let ticks = 0
  for (const pid of pids) {
    const stat = read(`/proc/${pid}/stat`)
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    ticks += Number(fields[11] ?? 0) + Number(fields[12] ?? 0)
  }
  return ticks / TICKS_PER_SECOND
}

/** A process and all that descend from it. */
export function treeOf(root: number): readonly number[] {
  const parents = new Map(allPids().map((pid) => [pid, processStat(pid)?.parent ?? 0]))
  const tree = new Set([root])
  for (let size = 0; size !== tree.size; ) {
    size = tree.size
    for (const [pid, parent] of parents) if (tree.has(parent)) tree.add(pid)
  }
  return [...tree]
}

function read(path: string): string {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return ''
  }
}
