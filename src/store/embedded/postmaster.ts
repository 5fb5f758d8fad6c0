import { spawn } from 'node:child_process'
import { constants } from 'node:fs'
import { open, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { systemClock } from '../../core/clock.ts'
import { LIMITS } from '../../core/limits.ts'
import { credentials } from './account.ts'
import type { Binaries } from './binaries.ts'
import { explainOutput, unavailable } from './failure.ts'
import { isPrivate, type Placement } from './placement.ts'
import { isRunning, listProcesses, readProcess, signalProcess } from './process-table.ts'
import { clusterName, settingsFiles } from './settings.ts'

/** Lines 1, 3 and 5 of postmaster.pid; written by PostgreSQL at its start. */
export interface PidFile {
  readonly pid: number
  /** s since the epoch. */
  readonly startedAt: number
  readonly socketDirectory: string | null
}

/** What the last postmaster wrote, whether it runs or not. */
export async function readPidFile({ cluster }: Placement): Promise<PidFile | null> {
  const text = await readFile(join(cluster, 'postmaster.pid'), 'utf8').catch(() => '')
  const [pid = '', , startedAt = '', , sockets = ''] = text.split('\n')
  if (!/^\d+$/.test(pid)) return null
  return { pid: Number(pid), startedAt: Number(startedAt), socketDirectory: sockets.trim() === '' ? null : sockets.trim() }
}

/** The postmaster of this cluster, if it runs: by pid, owner and command line, because a pid alone may be somebody else's by now. */
export async function findPostmaster(placement: Placement): Promise<PidFile | null> {
  const file = await readPidFile(placement)
  if (file === null || !(await isRunning(file.pid))) return null
  const found = await readProcess(file.pid)
  const isOurs = found !== null && found.uid === placement.account.uid && found.command.includes(`postgres -D ${placement.cluster}`)
  return isOurs ? file : null
}

const LEFTOVER_GRACE_MS = 3000

/**
 * Backends of a postmaster that was killed end by themselves at their next wait. One that is busy would keep the shared memory in use
 * and the new postmaster from starting. To kill it is safe: with its postmaster dead, the start recovers from the log anyway.
 */
export async function endLeftovers(placement: Placement): Promise<void> {
  const title = `postgres: ${clusterName(placement)}: `
  const started = systemClock.monotonic()
  for (;;) {
    const leftovers = (await listProcesses()).filter((entry) => entry.uid === placement.account.uid && entry.command.startsWith(title))
    if (leftovers.length === 0) return
    const waitedMs = systemClock.monotonic() - started
    if (waitedMs > 2 * LEFTOVER_GRACE_MS) {
      const pids = leftovers.map((entry) => entry.pid).join(', ')
      throw unavailable(`processes of an earlier run still use ${placement.cluster}: ${pids}`, 'End them, then start again.')
    }
    if (waitedMs > LEFTOVER_GRACE_MS) for (const { pid } of leftovers) signalProcess(pid, 'SIGKILL')
    await systemClock.sleep(20)
  }
}

/**
 * PostgreSQL takes any living process with the recorded pid for the former postmaster: a zombie that nobody waits for (in containers
 * whose first process does not), or a stranger who got the number. Call this only when it is certain that none runs.
 */
export async function removeStaleLocks(placement: Placement): Promise<void> {
  const file = await readPidFile(placement)
  if (file === null) return
  const { socketDirectory } = file
  if (socketDirectory !== null && (await isPrivate(socketDirectory, placement.account))) {
    for (const name of ['.s.PGSQL.5432.lock', '.s.PGSQL.5432']) await rm(join(socketDirectory, name), { force: true })
  }
  await rm(join(placement.cluster, 'postmaster.pid'), { force: true })
}

export interface StartedPostmaster {
  readonly pid: number
  /** Null while it runs. */
  exit(): string | null
  /** Last lines of what it printed since its start. */
  output(): Promise<string[]>
}

/** Starts it detached, with its output in a file: it outlives us. The cluster must not be in use. */
export async function spawnPostmaster(
  placement: Placement,
  binaries: Binaries,
  settings: readonly string[] = [],
): Promise<StartedPostmaster> {
  const { account, cluster, logFile } = placement
  await rotateLog(logFile)
  const log = await open(logFile, constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NOFOLLOW, 0o600)
  try {
    if (!account.isSelf) await log.chown(account.uid, account.gid)
    const { size: logStart } = await log.stat()
    const given = [`config_file=${settingsFiles(placement).config}`, ...settings]
    const child = spawn(binaries.postgres, ['-D', cluster, ...given.flatMap((setting) => ['-c', setting])], {
      detached: true,
      cwd: '/',
      // Only the postmaster is shielded from the OOM killer (where we may do that): its children are the ones to go.
      env: { LC_ALL: 'C', TZ: 'UTC', PG_OOM_ADJUST_FILE: '/proc/self/oom_score_adj', PG_OOM_ADJUST_VALUE: '0' },
      stdio: ['ignore', log.fd, log.fd],
      ...credentials(account),
    })
    let exit: string | null = null
    child.once('exit', (code, signal) => {
      exit = String(code ?? signal)
    })
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve)
      child.once('error', reject)
    })
    child.unref()
    const pid = child.pid ?? 0
    if (!account.isSelf) await writeFile(`/proc/${pid}/oom_score_adj`, '-900').catch(() => {})
    return { pid, exit: () => exit, output: () => readTail(logFile, logStart) }
  } catch (error) {
    throw unavailable(`can't run ${binaries.postgres}: ${(error as Error).message}`, '`shiplock doctor` shows more.', error)
  } finally {
    await log.close()
  }
}

const LOG_TAIL_BYTES = 16 * 1024

async function readTail(file: string, from: number): Promise<string[]> {
  const handle = await open(file, 'r')
  try {
    const { size } = await handle.stat()
    const start = Math.max(from, size - LOG_TAIL_BYTES)
    const buffer = Buffer.alloc(Math.max(0, size - start))
    await handle.read(buffer, 0, buffer.length, start)
    return buffer.toString('utf8').split('\n').filter(Boolean)
  } finally {
    await handle.close()
  }
}

/** One former log is kept. */
async function rotateLog(file: string): Promise<void> {
  const found = await stat(file).catch(() => null)
  if (found !== null && found.size > LIMITS.databaseLogBytes) await rename(file, `${file}.1`)
}

/** Fast shutdown (SIGINT: sessions are ended, a checkpoint is written); immediate (SIGQUIT) when that takes too long. */
export async function stopPostmaster(placement: Placement, pid: number): Promise<void> {
  for (const [signal, boundMs] of [
    ['SIGINT', LIMITS.databaseStopMs],
    ['SIGQUIT', LIMITS.databaseStopMs / 4],
  ] as const) {
    signalProcess(pid, signal)
    const deadline = systemClock.monotonic() + boundMs
    while (systemClock.monotonic() < deadline) {
      if (!(await isRunning(pid))) return
      await systemClock.sleep(10)
    }
  }
  throw unavailable(`PostgreSQL (process ${pid}) in ${placement.cluster} does not stop`, 'Look at its log, and end it by hand.')
}

/** Why it ended, from its last words. */
export async function explainExit(placement: Placement, started: StartedPostmaster): Promise<Error> {
  return explainOutput('starting PostgreSQL', placement.cluster, await started.output())
}
