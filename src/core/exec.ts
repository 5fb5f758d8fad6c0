import { type ChildProcess, spawn } from 'node:child_process'
import { systemClock } from './clock.ts'
import { ShiplockError } from './errors.ts'
import { LineSplitter } from './lines.ts'
import { allPids, processStat } from './process-identity.ts'

export interface CommandOptions {
  readonly cwd?: string
  /** The whole environment of the child; nothing is inherited. */
  readonly env: Readonly<Record<string, string>>
  readonly input?: string | Uint8Array
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
  /** SIGTERM to SIGKILL. Default 2 s. */
  readonly killGraceMs?: number
  readonly uid?: number
  readonly gid?: number
  /** Every line of stdout and stderr, printable, in the order they arrive. */
  readonly onLine?: (line: string, stream: 'stdout' | 'stderr') => void
  /** The same as it comes, in pieces, for who has to see line breaks and control characters. */
  readonly onChunk?: (chunk: Uint8Array, stream: 'stdout' | 'stderr') => void
  /** Bytes of stdout kept in the result; the rest is dropped. Default 1 MiB. */
  readonly stdoutBytesMax?: number
  /** Runs once the child exists, e.g. to put it into a cgroup. */
  readonly onSpawn?: (pid: number) => void
  /** Runs once the child and its group are gone, before the end of its output is awaited: ends what left the group but holds the pipes. */
  readonly onEnd?: () => Promise<void>
}

export interface CommandResult {
  readonly exitCode: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderrTail: readonly string[]
  readonly timedOut: boolean
  readonly aborted: boolean
  readonly tookMs: number
}

const STDERR_TAIL_LINES = 40
const DEFAULT_KILL_GRACE_MS = 2000

/**
 * Runs a program from an argv array (never a shell string) in a process group of its own.
 * Resolves with what happened, whatever the exit code; the whole group is gone by then, children left behind included.
 * Rejects only when the program can't be started.
 */
export async function runCommand(file: string, args: readonly string[], options: CommandOptions): Promise<CommandResult> {
  options.signal?.throwIfAborted()
  const started = systemClock.monotonic()
  const child = spawn(file, [...args], {
    cwd: options.cwd,
    env: options.env as NodeJS.ProcessEnv,
    stdio: ['pipe', 'pipe', 'pipe'],
    detached: true,
    ...(options.uid === undefined ? {} : { uid: options.uid }),
    ...(options.gid === undefined ? {} : { gid: options.gid }),
  })
  const output = collectOutput(child, options)
  child.stdin?.on('error', () => {})
  child.stdin?.end(options.input)

  let timedOut = false
  let aborted = false
  let ending: Promise<void> | null = null
  const end = () => {
    if (child.pid !== undefined) ending ??= killGroup(child.pid, options.killGraceMs ?? DEFAULT_KILL_GRACE_MS)
  }
  const onAbort = () => {
    aborted = true
    end()
  }
  options.signal?.addEventListener('abort', onAbort, { once: true })
  const timer =
    options.timeoutMs === undefined
      ? undefined
      : setTimeout(() => {
          timedOut = true
          end()
        }, options.timeoutMs)
  try {
    if (child.pid !== undefined) options.onSpawn?.(child.pid)
    const { exitCode, signal } = await exited(child, file)
    // A program that exits 0 and leaves children behind has not ended: the group goes with it.
    if (child.pid !== undefined) await (ending ?? killGroup(child.pid, 0))
    await options.onEnd?.()
    await output.closed
    return {
      exitCode,
      signal,
      stdout: output.stdout(),
      stderrTail: output.stderrTail,
      timedOut,
      aborted,
      tookMs: systemClock.monotonic() - started,
    }
  } finally {
    clearTimeout(timer)
    options.signal?.removeEventListener('abort', onAbort)
  }
}

/** Ends a process group and returns when no member is left. A missing group is success. */
export async function killGroup(pgid: number, graceMs: number): Promise<void> {
  if (graceMs > 0 && signalGroup(pgid, 'SIGTERM')) {
    const deadline = systemClock.monotonic() + graceMs
    for (let look = 1; signalGroup(pgid, 0); look++) {
      if (systemClock.monotonic() >= deadline || (look % LOOKS_PER_SCAN === 0 && onlyZombies(pgid))) break
      await systemClock.sleep(10)
    }
  }
  const deadline = systemClock.monotonic() + GROUP_GONE_MS
  for (let look = 1; signalGroup(pgid, 'SIGKILL'); look++) {
    if ((look % LOOKS_PER_SCAN === 0 && onlyZombies(pgid)) || systemClock.monotonic() >= deadline) return
    await systemClock.sleep(5)
  }
}
const GROUP_GONE_MS = 5000
/** Reading /proc costs milliseconds; most groups are gone after one or two looks. */
const LOOKS_PER_SCAN = 4

/** A zombie whose parent does not reap it (a container without an init) still answers signals, but runs nothing any more. */
function onlyZombies(pgid: number): boolean {
  try {
    return allPids().every((pid) => {
      const stat = processStat(pid)
      return stat === null || stat.group !== pgid || stat.state === 'Z' || stat.state === 'X'
    })
  } catch {
    return false
  }
}

function signalGroup(pgid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    process.kill(-pgid, signal)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

function exited(child: ChildProcess, file: string): Promise<{ exitCode: number | null; signal: NodeJS.Signals | null }> {
  return new Promise((resolve, reject) => {
    child.once('error', (error: NodeJS.ErrnoException) => {
      reject(
        new ShiplockError('INTERNAL', `can't start ${file}: ${error.code ?? error.message}`, {
          cause: error,
          details: { file, errno: error.code },
        }),
      )
    })
    child.once('exit', (exitCode, signal) => resolve({ exitCode, signal }))
  })
}

function collectOutput(child: ChildProcess, options: CommandOptions) {
  const chunks: Buffer[] = []
  let kept = 0
  const stdoutBytesMax = options.stdoutBytesMax ?? 1024 * 1024
  const stderrTail: string[] = []
  const stdoutLines = new LineSplitter((line) => options.onLine?.(line, 'stdout'))
  const stderrLines = new LineSplitter((line) => {
    stderrTail.push(line)
    if (stderrTail.length > STDERR_TAIL_LINES) stderrTail.shift()
    options.onLine?.(line, 'stderr')
  })
  child.stdout?.on('data', (chunk: Buffer) => {
    options.onChunk?.(chunk, 'stdout')
    if (kept < stdoutBytesMax) {
      chunks.push(chunk.subarray(0, stdoutBytesMax - kept))
      kept += chunk.length
    }
    if (options.onLine !== undefined) stdoutLines.push(chunk)
  })
  child.stderr?.on('data', (chunk: Buffer) => {
    options.onChunk?.(chunk, 'stderr')
    stderrLines.push(chunk)
  })
  const closed = new Promise<void>((resolve) => {
    child.once('error', () => resolve())
    child.once('close', () => {
      stdoutLines.end()
      stderrLines.end()
      resolve()
    })
  })
  return { closed, stderrTail, stdout: () => Buffer.concat(chunks).toString('utf8') }
}
