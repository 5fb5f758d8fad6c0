import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, rmdirSync } from 'node:fs'
import { join } from 'node:path'
import { allPids, identify, isAlive, type ProcessIdentity, signalProcess } from '../../src/core/process-identity.ts'
import { removeTree } from '../../src/core/remove-tree.ts'
import { eventually } from './eventually.ts'
import { closeTestNetwork } from './test-network.ts'

const ORDERLY_MS = 15_000

/** Ends a test's engine with everything it started and removes what it has; whatever state it is in, a missing one is success. */
export async function removeDockerd(directory: string, number: number | null): Promise<void> {
  const known = number ?? numberIn(directory)
  await stopOrderly(directory)
  const kill = () => {
    const left = processesOf(directory, known)
    for (const identity of left) signalProcess(identity, 'SIGKILL')
    return left.length === 0
  }
  await eventually(kill, { withinMs: 20_000 })
  for (const mount of mountsBelow(directory)) execFileSync('umount', ['-l', mount], { stdio: 'ignore' })
  if (known !== null) {
    removeCgroups(known)
    await closeTestNetwork(known)
  }
  await removeTree(directory)
}

/** A container that is removed in order leaves nothing for the hammer: dockerd ends all of them at SIGTERM, with 10 s of grace. */
async function stopOrderly(directory: string): Promise<void> {
  const daemon = readIdentity(join(directory, 'daemon.json'))
  if (daemon === null || !isAlive(daemon)) return
  // Without a grace period for their own end, which no test waits for.
  for (const pid of containerProcesses(directory)) signalProcess(pid, 'SIGKILL')
  signalProcess(daemon, 'SIGTERM')
  await eventually(() => !isAlive(daemon), { withinMs: ORDERLY_MS }).catch(() => {})
}

/** Every process of it: those that name the directory (dockerd, containerd, shims, runc), those in its control groups (containers). */
function processesOf(directory: string, number: number | null): readonly ProcessIdentity[] {
  const named = allPids().filter((pid) => {
    if (pid === process.pid) return false
    const argv = read(`/proc/${pid}/cmdline`).split('\0')
    return (
      argv.some((argument) => argument.includes(`${directory}/`)) && !argv.some((argument) => argument.startsWith(`${directory}/keeper/`))
    )
  })
  return [...new Set([...named, ...inCgroups(number)])].flatMap((pid) => identify(pid) ?? [])
}

function containerProcesses(directory: string): readonly ProcessIdentity[] {
  return inCgroups(numberIn(directory)).flatMap((pid) => identify(pid) ?? [])
}

function inCgroups(number: number | null): number[] {
  return number === null
    ? []
    : cgroupsOf(number).flatMap((group) =>
        read(join(group, 'cgroup.procs'))
          .split('\n')
          .filter((pid) => pid !== '')
          .map(Number),
      )
}

/** Of both hierarchies, deepest first. */
function cgroupsOf(number: number): readonly string[] {
  const name = `shiplock-test-${number}`
  const mounts = ['/sys/fs/cgroup', ...children('/sys/fs/cgroup')]
  return mounts
    .map((mount) => join(mount, name))
    .filter((path) => existsSync(path))
    .flatMap((path) => [...descendants(path), path])
}

function descendants(path: string): string[] {
  return children(path).flatMap((child) => [...descendants(child), child])
}

function children(path: string): string[] {
  try {
    return readdirSync(path, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => join(path, entry.name))
  } catch {
    return []
  }
}

function removeCgroups(number: number): void {
  for (const group of cgroupsOf(number)) {
    try {
      rmdirSync(group)
    } catch {}
  }
}

/** Innermost first. */
function mountsBelow(directory: string): readonly string[] {
  return read('/proc/self/mountinfo')
    .split('\n')
    .flatMap((line) => line.split(' ')[4] ?? [])
    .filter((point) => point.startsWith(`${directory}/`))
    .toReversed()
}

function numberIn(directory: string): number | null {
  try {
    return JSON.parse(readFileSync(join(directory, 'engine.json'), 'utf8')).number
  } catch {
    return null
  }
}

function readIdentity(file: string): ProcessIdentity | null {
  try {
    return JSON.parse(readFileSync(file, 'utf8'))
  } catch {
    return null
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
