import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { systemClock } from '../../core/clock.ts'
import { ShiplockError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import { allPids, identify, type ProcessIdentity, processStat } from '../../core/process-identity.ts'
import type { Sandbox, SandboxedCommand } from '../../sandbox/sandbox.ts'
import { SUPERVISE_SCRIPT } from './launch-scripts.ts'
import type { Claim, RunDirectory } from './run-directory.ts'

const FALLOCATE = ['/usr/bin/fallocate', '/bin/fallocate'].find((path) => existsSync(path)) ?? ''
const SETSID = ['/usr/bin/setsid', '/bin/setsid'].find((path) => existsSync(path)) ?? null

/** Environment variable of supervisors and all they run: the labels, so that a process tells whose it is even when its directory is lost. */
export const LABELS_VARIABLE = 'SHIPLOCK_LABELS'

/**
 * Starts the supervisor of a launch in a session of its own, writing to the log file by descriptor: nothing of it depends on this
 * process from here on. The returned child only serves to hear of its end at once.
 */
export async function spawnSupervisor(
  run: RunDirectory,
  launch: string,
  command: SandboxedCommand,
  sandbox: Sandbox,
  labels: string,
): Promise<ChildProcess> {
  const log = await open(run.log, 'a', 0o600)
  try {
    // Without a pid namespace the app gets a session of its own, so that SIGTERM to its process group spares the supervisor.
    const apart = sandbox.description.processes || SETSID === null ? [] : [SETSID]
    const bound = String(LIMITS.instanceLogBytes)
    const fixed = ['-c', SUPERVISE_SCRIPT, 'shiplock', run.path, launch, run.log, bound, command.killFile ?? '', FALLOCATE]
    const child = spawn('/bin/sh', [...fixed, ...apart, command.file, ...command.args], {
      cwd: command.cwd,
      // Not the sandbox's marker: killing the sandbox must spare the supervisor, which still has to write down the exit code.
      env: { PATH: command.env.PATH ?? '/usr/bin:/bin', [LABELS_VARIABLE]: labels },
      stdio: ['ignore', log.fd, log.fd],
      detached: true,
    })
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve)
      child.once('error', reject)
    })
    child.unref()
    return child
  } finally {
    await log.close()
  }
}

/** The claim of a launch, waited for while its supervisor is just writing it. */
export async function settledClaim(run: RunDirectory, launch: string, launchBoot: string): Promise<Exclude<Claim, { kind: 'unwritten' }>> {
  const deadline = systemClock.monotonic() + LIMITS.claimMs
  for (;;) {
    const claim = run.claim(launch, launchBoot)
    if (claim.kind !== 'unwritten') return claim
    // Killed between creating its claim and writing into it: it ran nothing, and nobody else may take this launch.
    if (systemClock.monotonic() > deadline && !supervisorExists(run, launch)) return { kind: 'canceled' }
    await systemClock.sleep(2)
  }
}

/** Resolves once a supervisor has claimed the launch; whoever holds the run's lock until then can't take its own launch for a lost one. */
export async function waitUntilClaimed(run: RunDirectory, launch: string, launchBoot: string): Promise<void> {
  const deadline = systemClock.monotonic() + LIMITS.claimMs
  while (run.claim(launch, launchBoot).kind === 'none') {
    const isOverdue = systemClock.monotonic() > deadline && !supervisorExists(run, launch)
    if (isOverdue && run.cancel(launch)) throw new ShiplockError('LAUNCH_FAILED', 'the supervisor of the instance did not start')
    await systemClock.sleep(1)
  }
}

/** Resolves once the start command runs. @throws LAUNCH_FAILED when the launch ended before, or an init command failed that may not. */
export async function waitUntilStarted(run: RunDirectory, launch: string, launchBoot: string, signal: AbortSignal): Promise<void> {
  for (let waitMs = 2; ; waitMs = Math.min(waitMs * 1.05, 50)) {
    signal.throwIfAborted()
    // In this order: what ended can report nothing more, so a report that is missing then is missing for good.
    const ended = run.exit(launch)
    const claim = run.claim(launch, launchBoot)
    const report = run.startReport(launch)
    if (report.kind === 'started') return
    if (report.kind === 'init-failed') {
      throw new ShiplockError('LAUNCH_FAILED', `init command ${report.number} exited with ${report.code}, and initFailure is "fail"`)
    }
    if (ended !== null) throw new ShiplockError('LAUNCH_FAILED', `the sandbox ended with ${ended.code} before the start command ran`)
    if (claim.kind === 'canceled' || claim.kind === 'none' || (claim.kind === 'supervisor' && !claim.alive)) {
      throw new ShiplockError('LAUNCH_FAILED', 'the instance was killed before its start command ran')
    }
    await systemClock.sleep(waitMs, signal)
  }
}

/** Looks for the supervisor by its arguments: on a host so busy that it has not come to write its claim, time alone proves nothing. */
function supervisorExists(run: RunDirectory, launch: string): boolean {
  return allPids().some((pid) => isSupervisor(pid, run.path) && commandLine(pid).includes(launch))
}

/** Supervisors of a directory, whose own files may be lost. */
export function supervisorsOf(run: RunDirectory): readonly ProcessIdentity[] {
  return allPids().flatMap((pid) => (isSupervisor(pid, run.path) ? (identify(pid) ?? []) : []))
}

function isSupervisor(pid: number, directory: string): boolean {
  const args = commandLine(pid)
  // Not by the script itself: a supervisor may come from an earlier version.
  return args[1] === '-c' && args[3] === 'shiplock' && args[4] === directory
}

function commandLine(pid: number): readonly string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
  } catch {
    return []
  }
}

/**
 * SIGTERM to every process group of the sandbox but the supervisor's own: the app as a whole, children that made sessions too.
 * False when there is no such group, as while the sandbox is still being made.
 */
export function terminate(sandbox: Sandbox, name: string, supervisor: number): boolean {
  const groups = new Set<number>()
  for (const pid of sandbox.processes(name)) {
    const group = processStat(pid)?.group
    if (group !== undefined && group > 1 && group !== supervisor) groups.add(group)
  }
  for (const group of groups) {
    try {
      process.kill(-group, 'SIGTERM')
    } catch {}
  }
  return groups.size > 0
}
