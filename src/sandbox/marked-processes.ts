import { readFileSync, readlinkSync } from 'node:fs'
import { allPids, processStat } from '../core/process-identity.ts'

/** Environment variable that all processes of a sandbox inherit; its value is `<engine>/<name>`. */
export const MARKER = 'SHIPLOCK_SANDBOX'

/**
 * Finds processes without cgroups: by the marker in their environment, and those that threw it away by sharing a pid namespace with one
 * that has it, or by descending from one. What was orphaned and threw it away on a host without pid namespaces is beyond finding. Reading another user's environment needs root; there the project's own user is used only by root.
 */
export function processesByMarker(engine: string): ReadonlyMap<string, readonly number[]> {
  const found = new Map<string, Set<number>>()
  const namespaceOf = new Map<number, string>()
  const nameOfNamespace = new Map<string, string>()
  const hostNamespace = pidNamespace('self')
  for (const pid of allPids()) {
    const name = markerOf(pid, engine)
    const namespace = pidNamespace(pid)
    if (namespace !== null) namespaceOf.set(pid, namespace)
    if (name === null) continue
    add(found, name, pid)
    if (namespace !== null && namespace !== hostNamespace) nameOfNamespace.set(namespace, name)
  }
  for (const [pid, namespace] of namespaceOf) {
    const name = nameOfNamespace.get(namespace)
    if (name !== undefined) add(found, name, pid)
  }
  if (found.size > 0) addDescendants(found, [...namespaceOf.keys()])
  return new Map([...found].map(([name, pids]) => [name, [...pids].filter(runs)]))
}

/** The environment that a process was started with, one `NAME=value` per entry; empty when it can't be read. */
function environmentOf(pid: number): readonly string[] {
  for (let attempt = 0; ; attempt++) {
    const text = readOrEmpty(`/proc/${pid}/environ`)
    if (text !== '' || attempt >= EXEC_LOOKS || !isBecoming(pid)) return text.split('\0')
    Atomics.wait(PAUSE, 0, 0, EXEC_LOOK_MS)
  }
}

const EXEC_LOOKS = 20
const EXEC_LOOK_MS = 0.5
const PAUSE = new Int32Array(new SharedArrayBuffer(4))

/** Between giving up its old program and having its new one a process shows neither environment nor arguments, for microseconds. */
function isBecoming(pid: number): boolean {
  const stat = processStat(pid)
  const isKernelThread = stat === null || pid === 2 || stat.parent === 2
  return !isKernelThread && stat.state !== 'Z' && stat.state !== 'X' && readOrEmpty(`/proc/${pid}/cmdline`) === ''
}

function readOrEmpty(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}

function addDescendants(found: Map<string, Set<number>>, pids: readonly number[]): void {
  const parentOf = new Map(pids.map((pid) => [pid, processStat(pid)?.parent ?? 0]))
  const nameOf = new Map([...found].flatMap(([name, members]) => [...members].map((pid) => [pid, name] as const)))
  for (const pid of pids) {
    if (nameOf.has(pid)) continue
    const path = [pid]
    for (let parent = parentOf.get(pid) ?? 0; parent > 1 && !path.includes(parent); parent = parentOf.get(parent) ?? 0) {
      const name = nameOf.get(parent)
      if (name !== undefined) {
        for (const descendant of path) add(found, name, descendant)
        break
      }
      path.push(parent)
    }
  }
}

function markerOf(pid: number, engine: string): string | null {
  const prefix = `${MARKER}=${engine}/`
  const entry = environmentOf(pid).find((candidate) => candidate.startsWith(prefix))
  return entry === undefined ? null : entry.slice(prefix.length)
}

function pidNamespace(pid: number | 'self'): string | null {
  try {
    return readlinkSync(`/proc/${pid}/ns/pid`)
  } catch {
    return null
  }
}

function runs(pid: number): boolean {
  const stat = processStat(pid)
  return stat !== null && stat.state !== 'Z' && stat.state !== 'X'
}

function add(found: Map<string, Set<number>>, name: string, pid: number): void {
  const pids = found.get(name) ?? new Set()
  pids.add(pid)
  found.set(name, pids)
}
