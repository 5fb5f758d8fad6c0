import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { type CgroupParents, Cgroups, enableControllers, removeIfEmpty } from './cgroup.ts'

const PROBE_TIMEOUT_MS = 5000

/**
 * Finds out by trying which cgroup hierarchies can be used, and makes `shiplock/<owner>` in each: v2, v1, or v1 with v2 beside it.
 * Null where the kernel or the container allows none (unprivileged user without delegation, read-only /sys/fs/cgroup).
 */
export function detectCgroups(owner: string): Cgroups | null {
  const parents: Record<string, string> = {}
  const mounts = cgroupMounts()
  const own = ownCgroups()
  for (const controller of ['memory', 'cpu', 'pids'] as const) {
    const mount = mounts.v1.get(controller)
    if (mount === undefined) continue
    const parent = usableParent([mount, join(mount, own.get(controller) ?? '/')], owner)
    if (parent !== null) parents[controller] = parent
  }
  const v2 = mounts.v2 === null ? null : usableParent([mounts.v2, dirname(join(mounts.v2, own.get('') ?? '/'))], owner)
  if (v2 !== null) parents.unified = v2
  if (Object.keys(parents).length === 0) return null
  const has = (controller: 'memory' | 'cpu' | 'pids', file: string) =>
    parents[controller] !== undefined || (v2 !== null && offers(v2, file))
  return new Cgroups(parents as CgroupParents, {
    memory: has('memory', 'memory.max'),
    cpu: has('cpu', 'cpu.max'),
    pids: has('pids', 'pids.max'),
  })
}

/** Whether a group below that parent has the control file; asked of a group made for it, since the parent itself comes and goes. */
function offers(parent: string, file: string): boolean {
  const probe = join(parent, `probe-${process.pid}`)
  try {
    mkdirSync(parent, { recursive: true })
    enableControllers(parent)
    mkdirSync(probe, { recursive: true })
    return existsSync(join(probe, file))
  } catch {
    return false
  } finally {
    removeIfEmpty(probe)
    removeIfEmpty(parent)
  }
}

/** The first base below which a group can be made and a process can really be moved into it. */
function usableParent(bases: readonly string[], owner: string): string | null {
  for (const base of bases) {
    const shared = join(base, 'shiplock')
    const parent = join(shared, owner)
    try {
      enableControllers(base)
      mkdirSync(shared, { recursive: true })
      enableControllers(shared)
      mkdirSync(parent, { recursive: true })
      enableControllers(parent)
      const usable = canJoin(join(parent, `probe-${process.pid}`))
      // Made again with the first group; an engine that runs nothing leaves nothing here.
      if (usable) removeIfEmpty(parent)
      if (usable) return parent
    } catch {}
  }
  return null
}

function canJoin(group: string): boolean {
  try {
    mkdirSync(group, { recursive: true })
    const script = 'echo $$ > "$1"/cgroup.procs'
    execFileSync('/bin/sh', ['-c', script, 'sh', group], { env: {}, stdio: 'ignore', timeout: PROBE_TIMEOUT_MS })
    return true
  } catch {
    return false
  } finally {
    try {
      rmdirSync(group)
    } catch {}
  }
}

function cgroupMounts(): { readonly v1: ReadonlyMap<string, string>; readonly v2: string | null } {
  const v1 = new Map<string, string>()
  let v2: string | null = null
  for (const line of readFileSync('/proc/self/mounts', 'utf8').split('\n')) {
    const [, path, type, options] = line.split(' ')
    if (path === undefined || options === undefined) continue
    if (type === 'cgroup2') v2 ??= path
    if (type === 'cgroup') for (const option of options.split(',')) if (!v1.has(option)) v1.set(option, path)
  }
  return { v1, v2 }
}

/** Our own group per v1 controller; '' names v2. */
function ownCgroups(): ReadonlyMap<string, string> {
  const own = new Map<string, string>()
  for (const line of readFileSync('/proc/self/cgroup', 'utf8').trim().split('\n')) {
    const [, controllers, ...path] = line.split(':')
    for (const controller of (controllers ?? '').split(',')) own.set(controller, path.join(':'))
  }
  return own
}
