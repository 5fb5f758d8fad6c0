import { readdirSync, readFileSync } from 'node:fs'

/**
 * Names one process for ever: a pid alone is reused, a pid with its start time (clock ticks since boot, field 22 of /proc/<pid>/stat)
 * is not, and the boot id says which boot those ticks count from.
 */
export interface ProcessIdentity {
  readonly pid: number
  readonly startTicks: string
  readonly bootId: string
}

/** What /proc/<pid>/stat says; null when there is no such process (any more). */
export interface ProcessStat {
  readonly pid: number
  readonly command: string
  /** One letter: R S D T Z X … */
  readonly state: string
  readonly parent: number
  readonly group: number
  readonly session: number
  readonly startTicks: string
}

let knownBootId: string | null = null

export function bootId(): string {
  knownBootId ??= readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  return knownBootId
}

export function processStat(pid: number): ProcessStat | null {
  try {
    return parseStat(readFileSync(`/proc/${pid}/stat`, 'latin1'))
  } catch {
    return null
  }
}

/** The command name may hold spaces and parentheses, so fields count from the last `)`. */
export function parseStat(text: string): ProcessStat | null {
  const open = text.indexOf('(')
  const close = text.lastIndexOf(')')
  if (open === -1 || close === -1) return null
  const fields = text.slice(close + 2).split(' ')
  const [state, parent, group, session] = fields
  const startTicks = fields[19]
  if (state === undefined || startTicks === undefined) return null
  return {
    pid: Number(text.slice(0, open)),
    command: text.slice(open + 1, close),
    state,
    parent: Number(parent),
    group: Number(group),
    session: Number(session),
    startTicks,
  }
}

/** The identity of a living process; null when it is gone or only a zombie, which runs nothing any more. */
export function identify(pid: number): ProcessIdentity | null {
  const stat = processStat(pid)
  if (stat === null || isDead(stat)) return null
  return { pid, startTicks: stat.startTicks, bootId: bootId() }
}

export function isAlive(identity: ProcessIdentity): boolean {
  if (identity.bootId !== bootId()) return false
  const stat = processStat(identity.pid)
  return stat !== null && stat.startTicks === identity.startTicks && !isDead(stat)
}

/** Signals exactly that process; false when it is gone. */
export function signalProcess(identity: ProcessIdentity, signal: NodeJS.Signals): boolean {
  if (!isAlive(identity)) return false
  try {
    process.kill(identity.pid, signal)
    return true
  } catch {
    return false
  }
}

function isDead(stat: ProcessStat): boolean {
  return stat.state === 'Z' || stat.state === 'X'
}

/** All pids of the host that we can see. */
export function allPids(): readonly number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
}
