import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, readlinkSync, realpathSync, rmdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { identify, type ProcessIdentity, signalProcess } from '../../src/core/process-identity.ts'
import { memoryPathsOf } from './memory-directories.ts'
import { networksOf, removeNetworks } from './network-traces.ts'

export interface Belonging {
  readonly identity: ProcessIdentity
  readonly command: string
}

/**
 * Every process that belongs to a data directory: it names it (arguments, environment, working directory), or it is one that the server
 * of that directory starts under a name derived from it (sandboxed processes, PostgreSQL's children).
 */
export function processesOf(dataDirectory: string): readonly Belonging[] {
  const path = existsSync(dataDirectory) ? realpathSync(dataDirectory) : dataDirectory
  const engine = hash(join(path, 'sandbox'), 12)
  const names = [path, `SHIPLOCK_SANDBOX=${engine}/`, `postgres: shiplock-${hash(join(path, 'postgres', 'data'), 8)}:`]
  const found: Belonging[] = []
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry) || Number(entry) === process.pid) continue
    const command = read(`/proc/${entry}/cmdline`).replaceAll('\0', ' ').trim()
    const text = `${command}\n${read(`/proc/${entry}/environ`)}\n${link(`/proc/${entry}/cwd`)}`
    if (!names.some((name) => text.includes(name))) continue
    const identity = identify(Number(entry))
    if (identity !== null) found.push({ identity, command })
  }
  return found
}

/** Descriptions of what is left of a data directory's server: processes, control groups and networks. Empty = nothing. */
export function leftoversOf(dataDirectory: string): readonly string[] {
  return [
    ...processesOf(dataDirectory).map(({ identity, command }) => `process ${identity.pid}: ${command.slice(0, 200)}`),
    ...cgroupsOf(dataDirectory).flatMap((group) =>
      read(join(group, 'cgroup.procs'))
        .split('\n')
        .filter(Boolean)
        .map((pid) => `${group} holds ${pid}`),
    ),
    ...networksOf(join(dataDirectory, 'sandbox')),
  ]
}

/** Kills what belongs to a data directory until nothing is left; tells what could not be ended. */
export async function endAll(dataDirectory: string): Promise<readonly string[]> {
  for (let round = 0; round < 200; round++) {
    const left = processesOf(dataDirectory)
    if (left.length === 0) {
      for (const path of memoryPathsOf(dataDirectory)) rmSync(path, { recursive: true, force: true })
      await removeNetworks(join(dataDirectory, 'sandbox'))
      return [...(await removeCgroups(dataDirectory)), ...networksOf(join(dataDirectory, 'sandbox'))]
    }
    // Whoever starts others goes first, in one sweep: the server, then the edge's primary, then the rest.
    for (const { identity } of left) signalProcess(identity, 'SIGKILL')
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  return leftoversOf(dataDirectory)
}

/** A killed server leaves its control groups, empty by now. Tells those that could not be removed. */
async function removeCgroups(dataDirectory: string): Promise<readonly string[]> {
  for (let round = 0; round < 100 && cgroupsOf(dataDirectory).length > 0; round++) {
    for (const group of cgroupsOf(dataDirectory).toReversed()) {
      try {
        rmdirSync(group)
      } catch {}
    }
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  return cgroupsOf(dataDirectory).map((group) => `control group ${group}`)
}

/** Names of the sandboxes of a data directory in which something runs: instances, builds, tasks. */
export function sandboxesOf(dataDirectory: string): ReadonlySet<string> {
  const prefix = `SHIPLOCK_SANDBOX=${hash(join(realpathSync(dataDirectory), 'sandbox'), 12)}/`
  const names = new Set<string>()
  for (const { identity } of processesOf(dataDirectory)) {
    const entry = read(`/proc/${identity.pid}/environ`)
      .split('\0')
      .find((candidate) => candidate.startsWith(prefix))
    if (entry !== undefined) names.add(entry.slice(prefix.length))
  }
  return names
}

/** Control groups of the sandboxes of a data directory. */
export function cgroupsOf(dataDirectory: string): readonly string[] {
  const engine = hash(join(existsSync(dataDirectory) ? realpathSync(dataDirectory) : dataDirectory, 'sandbox'), 12)
  const parents = ['', 'memory', 'cpu', 'cpu,cpuacct', 'pids', 'unified'].map((mount) => join('/sys/fs/cgroup', mount, 'shiplock', engine))
  return parents.flatMap((parent) =>
    existsSync(parent)
      ? [
          parent,
          ...readdirSync(parent, { withFileTypes: true })
            .filter((entry) => entry.isDirectory())
            .map((entry) => join(parent, entry.name)),
        ]
      : [],
  )
}

function hash(text: string, length: number): string {
  return createHash('sha256').update(text).digest('hex').slice(0, length)
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

function link(path: string): string {
  try {
    return readlinkSync(path)
  } catch {
    return ''
  }
}
