import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { systemClock } from './clock.ts'
import { LIMITS } from './limits.ts'

/** Upper bounds of one cgroup; null = none. */
export interface CgroupLimits {
  readonly memoryBytes: number | null
  /** Cores. */
  readonly cpus: number | null
  /** Share under contention, 100 = ordinary (the unit of cgroup v2's cpu.weight). */
  readonly cpuWeight: number
  readonly pidsMax: number | null
}

/** Which controllers can be had here. */
export interface CgroupSupport {
  readonly memory: boolean
  readonly cpu: boolean
  readonly pids: boolean
}

const CPU_PERIOD_US = 100_000

/**
 * Named groups of processes with limits, below one parent that this engine owns. `directories` are the parent in each hierarchy:
 * one under cgroup v2, one per controller under v1, plus the v2 tree that many v1 hosts mount beside (its cgroup.kill is the surest kill).
 */
export class Cgroups {
  readonly support: CgroupSupport
  readonly #parents: CgroupParents

  constructor(parents: CgroupParents, support: CgroupSupport) {
    this.#parents = parents
    this.support = support
  }

  /** Makes the group empty and limited; returns the files to which a process writes its pid to join. */
  create(name: string, limits: CgroupLimits): readonly string[] {
    const directories = this.#directories(name)
    const { unified: v2 } = this.#parents
    if (v2 !== undefined) {
      mkdirSync(v2, { recursive: true })
      enableControllers(v2)
    }
    for (const directory of directories) mkdirSync(directory, { recursive: true })
    const { memory, cpu, pids, unified } = this.#parents
    if (memory !== undefined && limits.memoryBytes !== null) limitMemoryV1(join(memory, name), limits.memoryBytes)
    if (cpu !== undefined) limitCpuV1(join(cpu, name), limits)
    if (pids !== undefined) write(join(pids, name, 'pids.max'), String(limits.pidsMax ?? 'max'))
    if (unified !== undefined) limitV2(join(unified, name), limits)
    return directories.map((directory) => join(directory, 'cgroup.procs'))
  }

  /** The pids of the group in the host's numbering; empty when there is no such group. */
  processes(name: string): readonly number[] {
    const pids = new Set<number>()
    for (const directory of this.#directories(name)) {
      for (const line of read(join(directory, 'cgroup.procs')).split('\n')) if (line !== '' && line !== '0') pids.add(Number(line))
    }
    return [...pids]
  }

  exists(name: string): boolean {
    return this.#directories(name).some((directory) => existsSync(directory))
  }

  /** The file that ends all members at once when `1` is written to it; null on kernels without it. */
  killFile(name: string): string | null {
    const { unified } = this.#parents
    const file = unified === undefined ? null : join(unified, name, 'cgroup.kill')
    return file !== null && existsSync(file) ? file : null
  }

  /** Kills every member and waits until none is left. False when some did not go in time (a process in uninterruptible sleep). */
  async kill(name: string): Promise<boolean> {
    const deadline = systemClock.monotonic() + LIMITS.killConfirmMs
    const { pids } = this.#parents
    for (let waitMs = 1; this.processes(name).length > 0; waitMs = Math.min(waitMs * 2, 50)) {
      if (systemClock.monotonic() > deadline) return false
      const killFile = this.killFile(name)
      if (killFile !== null) write(killFile, '1')
      // Without cgroup.kill a fork bomb outruns a loop of kills, unless it can't fork any more.
      else if (pids !== undefined) write(join(pids, name, 'pids.max'), '0')
      for (const pid of this.processes(name)) sigkill(pid)
      await systemClock.sleep(waitMs)
    }
    return true
  }

  /** How often the kernel killed a member for want of memory, and the most memory the group ever held. */
  memory(name: string): { readonly oomKills: number; readonly peakBytes: number | null } {
    const { memory, unified } = this.#parents
    if (memory !== undefined) {
      const peak = read(join(memory, name, 'memory.max_usage_in_bytes'))
      return { oomKills: field(read(join(memory, name, 'memory.oom_control')), 'oom_kill'), peakBytes: peak === '' ? null : Number(peak) }
    }
    if (unified === undefined) return { oomKills: 0, peakBytes: null }
    const peak = read(join(unified, name, 'memory.peak'))
    return { oomKills: field(read(join(unified, name, 'memory.events')), 'oom_kill'), peakBytes: peak === '' ? null : Number(peak) }
  }

  /** Removes the empty group, and the engine's parent with the last one; a missing one is success. */
  async remove(name: string): Promise<void> {
    for (const directory of this.#directories(name)) {
      const deadline = systemClock.monotonic() + LIMITS.killConfirmMs
      // A group stays busy for a moment after its last member has been reaped.
      while (!removeTree(directory)) {
        if (systemClock.monotonic() > deadline) throw new Error(`cgroup ${directory} can't be removed: it still has members`)
        await systemClock.sleep(5)
      }
      removeIfEmpty(dirname(directory))
    }
  }

  /** Names of the groups that exist. */
  list(): readonly string[] {
    const names = new Set<string>()
    for (const parent of Object.values(this.#parents)) for (const name of subgroups(parent)) names.add(name)
    return [...names]
  }

  #directories(name: string): readonly string[] {
    return Object.values(this.#parents).map((parent) => join(parent, name))
  }
}

/** The engine's own group per hierarchy. Under v2 with controllers only `unified` is set. */
export interface CgroupParents {
  readonly memory?: string
  readonly cpu?: string
  readonly pids?: string
  readonly unified?: string
}

/** Lets groups below that directory have limits (v2); what is not to be had is left out. */
export function enableControllers(directory: string): void {
  for (const controller of ['memory', 'cpu', 'pids']) write(join(directory, 'cgroup.subtree_control'), `+${controller}`)
}

export function removeIfEmpty(directory: string): void {
  try {
    rmdirSync(directory)
  } catch {}
}

function limitMemoryV1(directory: string, bytes: number): void {
  write(join(directory, 'memory.limit_in_bytes'), String(bytes))
  // Absent on kernels without swap accounting; there the limit above is the whole one.
  write(join(directory, 'memory.memsw.limit_in_bytes'), String(bytes))
}

function limitCpuV1(directory: string, limits: CgroupLimits): void {
  write(join(directory, 'cpu.cfs_period_us'), String(CPU_PERIOD_US))
  write(join(directory, 'cpu.cfs_quota_us'), String(limits.cpus === null ? -1 : Math.round(limits.cpus * CPU_PERIOD_US)))
  // v1 counts 1024 where v2 counts 100.
  write(join(directory, 'cpu.shares'), String(Math.max(2, Math.round((limits.cpuWeight * 1024) / 100))))
}

function limitV2(directory: string, limits: CgroupLimits): void {
  write(join(directory, 'memory.max'), String(limits.memoryBytes ?? 'max'))
  write(join(directory, 'memory.swap.max'), limits.memoryBytes === null ? 'max' : '0')
  write(join(directory, 'cpu.max'), `${limits.cpus === null ? 'max' : Math.round(limits.cpus * CPU_PERIOD_US)} ${CPU_PERIOD_US}`)
  write(join(directory, 'cpu.weight'), String(limits.cpuWeight))
  write(join(directory, 'pids.max'), String(limits.pidsMax ?? 'max'))
}

/** Writes to a control file; a missing one means that this hierarchy does not have the controller, which `support` has told already. */
function write(file: string, value: string): void {
  try {
    writeFileSync(file, value, { flag: 'r+' })
  } catch {}
}

function read(file: string): string {
  try {
    return readFileSync(file, 'latin1').trim()
  } catch {
    return ''
  }
}

function field(text: string, name: string): number {
  const line = text.split('\n').find((candidate) => candidate.startsWith(`${name} `))
  return line === undefined ? 0 : Number(line.slice(name.length + 1))
}

function subgroups(directory: string): readonly string[] {
  try {
    return readdirSync(directory, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => entry.name)
  } catch {
    return []
  }
}

function removeTree(directory: string): boolean {
  for (const child of subgroups(directory)) if (!removeTree(join(directory, child))) return false
  try {
    rmdirSync(directory)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT'
  }
}

function sigkill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {}
}
