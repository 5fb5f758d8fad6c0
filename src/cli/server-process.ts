import { type ChildProcess, spawn } from 'node:child_process'
import { mkdir, open, readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Environment } from '../config/settings.ts'
import { DATA_FILES } from '../contract/data-files.ts'
import { acquireDirectoryLock } from '../core/directory-lock.ts'
import { ERRORS, type ErrorCode, isShiplockError, ShiplockError } from '../core/errors.ts'
import { printable } from '../core/printable.ts'
import { type Connection, connect } from './connection.ts'

/** The composition root, beside this file in the built package. */
const SERVER_PROGRAM = fileURLToPath(new URL('../main.js', import.meta.url))
const START_MS = 90_000
const POLL_MS = 50
const TAIL_LINES = 15

export interface StartedServer {
  readonly connection: Connection
  readonly child: ChildProcess
  readonly logFile: string
}

export interface StartOptions {
  readonly env: Environment
  /** Apps and edge stop with it. */
  readonly isForeground: boolean
  readonly signal: AbortSignal
}

/** True when a Shiplock server answers there with our token. */
export async function isAnswering({ client }: Pick<Connection, 'client'>): Promise<boolean> {
  try {
    await client.call('getServer')
    return true
  } catch (error) {
    if (isShiplockError(error, 'SERVER_UNREACHABLE') || isShiplockError(error, 'DATABASE_UNAVAILABLE')) return false
    throw error
  }
}

/**
 * Starts the server of the data directory as a process of its own (its output goes to a file there) and waits until it answers.
 * When it ends before, what it said is the error: PORT_IN_USE, DATABASE_UNAVAILABLE …
 */
export async function startServerProcess(connection: Connection, { env, isForeground, signal }: StartOptions): Promise<StartedServer> {
  const { dataDirectory } = connection
  await mkdir(dataDirectory, { recursive: true, mode: 0o711 })
  // What a server that was killed left there would lead us astray.
  if ((await holderOf(dataDirectory)) === null) await rm(join(dataDirectory, DATA_FILES.apiUrl), { force: true })
  const logFile = join(dataDirectory, DATA_FILES.serverLog)
  const from = await stat(logFile).then(
    ({ size }) => size,
    () => 0,
  )
  const log = await open(logFile, 'a', 0o600)
  const child = spawn(process.execPath, [SERVER_PROGRAM], {
    // A group of its own: Ctrl-C in this terminal is ours to pass on.
    detached: true,
    stdio: ['ignore', log.fd, log.fd, 'ipc'],
    cwd: '/',
    env: { ...env, SHIPLOCK_DATA_DIR: dataDirectory, ...(isForeground ? { SHIPLOCK_FOREGROUND: '1' } : {}) } as NodeJS.ProcessEnv,
  })
  await log.close()
  const outcome = await readyOrEnded(child, signal)
  if (outcome === 'late') {
    child.kill('SIGTERM')
    throw new ShiplockError('SERVER_UNREACHABLE', `the server was not ready within ${START_MS / 1000} s`, {
      hint: `Its output is in ${logFile}; \`shiplock doctor\` says what is missing.`,
      details: { logTail: await tailOf(logFile, from) },
    })
  }
  if (outcome === 'ended') {
    const failure = await failureIn(logFile, from)
    // Somebody else started one at the same moment: theirs is as good.
    if (failure.code !== 'DATA_DIRECTORY_LOCKED') throw failure
    return { connection: await untilAnswering(env, failure, signal), child, logFile }
  }
  if (child.connected) child.disconnect()
  if (!isForeground) child.unref()
  return { connection: await connect(env), child, logFile }
}

/** The server says itself when everything in it runs: its API answers a moment before. */
function readyOrEnded(child: ChildProcess, signal: AbortSignal): Promise<'ready' | 'ended' | 'late'> {
  return new Promise((resolve, reject) => {
    const finish = (outcome: 'ready' | 'ended' | 'late' | Error) => {
      clearTimeout(timer)
      signal.removeEventListener('abort', interrupt)
      if (outcome instanceof Error) reject(outcome)
      else resolve(outcome)
    }
    const interrupt = () => {
      child.kill('SIGTERM')
      finish(new Error('interrupted'))
    }
    const timer = setTimeout(() => finish('late'), START_MS)
    signal.addEventListener('abort', interrupt, { once: true })
    child.once('message', () => finish('ready'))
    child.once('exit', () => finish('ended'))
    child.once('error', finish)
  })
}

async function untilAnswering(env: Environment, failure: ShiplockError, signal: AbortSignal): Promise<Connection> {
  const deadline = Date.now() + START_MS
  for (;;) {
    signal.throwIfAborted()
    const present = await connect(env)
    const isUp = await isAnswering(present).catch((error) => (isShiplockError(error, 'UNAUTHORIZED') ? false : Promise.reject(error)))
    if (isUp) return present
    if (Date.now() > deadline) throw failure
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
}

/** Ends the server of a data directory; false when none runs. Apps and edge go on, unless everything is meant. */
export async function stopServerProcess(dataDirectory: string, isEverything: boolean, signal: AbortSignal): Promise<boolean> {
  const deadline = Date.now() + START_MS
  let asked: number | null = null
  for (let isFirst = true; ; isFirst = false) {
    const holder = await lookForHolder(dataDirectory)
    if (holder === null) return !isFirst
    if (asked !== null && holder !== SILENT && holder !== asked) return true
    // The kernel says who holds the lock at this moment: never a pid from a file.
    if (asked === null && holder !== SILENT) {
      process.kill(holder, isEverything ? 'SIGQUIT' : 'SIGTERM')
      asked = holder
    }
    signal.throwIfAborted()
    if (Date.now() > deadline) {
      const who = asked === null ? 'the server does not say who it is, and' : `process ${asked}`
      throw new ShiplockError('INTERNAL', `${who} does not stop`, { hint: `Look at ${join(dataDirectory, DATA_FILES.serverLog)}.` })
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
}

/** Busy, with stopping for example: it holds the lock and did not come to answer. */
const SILENT = 'silent'

/** Process id of the server that has this data directory; null when none has. */
export async function holderOf(dataDirectory: string): Promise<number | null> {
  const holder = await lookForHolder(dataDirectory)
  if (holder === SILENT)
    throw new ShiplockError('DATA_DIRECTORY_LOCKED', `${dataDirectory} is in use by another process`, { details: { path: dataDirectory } })
  return holder
}

async function lookForHolder(dataDirectory: string): Promise<number | null | typeof SILENT> {
  try {
    await (await acquireDirectoryLock(dataDirectory)).release()
    return null
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
    if (!isShiplockError(error, 'DATA_DIRECTORY_LOCKED')) throw error
    return typeof error.details.pid === 'number' ? error.details.pid : SILENT
  }
}

/** Runs the server program in this terminal until it ends; its exit code. */
export async function runServerHere(env: Environment, args: readonly string[] = []): Promise<number> {
  const child = spawn(process.execPath, [SERVER_PROGRAM, ...args], { stdio: 'inherit', env: { ...env } as NodeJS.ProcessEnv })
  // Both get the terminal's signal; the server decides when it has ended.
  const pass = (signal: NodeJS.Signals) => child.kill(signal)
  const ignore = () => {}
  process.on('SIGINT', ignore)
  process.on('SIGTERM', pass)
  try {
    return await new Promise<number>((resolve, reject) => {
      child.on('error', reject)
      child.on('exit', (code, signal) => resolve(code ?? (signal === null ? 4 : 128 + 15)))
    })
  } finally {
    process.off('SIGINT', ignore)
    process.off('SIGTERM', pass)
  }
}

/** Output of the server program with these arguments. */
export function askServerProgram(
  env: Environment,
  args: readonly string[],
): Promise<{ readonly code: number | null; readonly stdout: string; readonly stderr: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [SERVER_PROGRAM, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...env } as NodeJS.ProcessEnv,
    })
    const parts = { stdout: '', stderr: '' }
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      parts.stdout += text
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      parts.stderr += text
    })
    child.on('error', reject)
    child.on('close', (code) => resolve({ code, ...parts }))
  })
}

/** The last thing that a server said before it ended, as an error. */
async function failureIn(logFile: string, from: number): Promise<ShiplockError> {
  const lines = await tailOf(logFile, from)
  return (
    fatalOf(lines) ??
    new ShiplockError('INTERNAL', 'the server ended before it was ready', {
      hint: `Its whole output is in ${logFile}.`,
      details: { logTail: lines },
    })
  )
}

/** Finds `{"level":"fatal","code":…}` among lines of the server's output. */
export function fatalOf(lines: readonly string[]): ShiplockError | null {
  for (const line of lines.toReversed()) {
    try {
      const { level, code, message, hint, details } = JSON.parse(line) as Record<string, unknown>
      if (level !== 'fatal' || typeof code !== 'string' || !(code in ERRORS)) continue
      return new ShiplockError(code as ErrorCode, String(message), {
        ...(typeof hint === 'string' ? { hint } : {}),
        ...(typeof details === 'object' && details !== null ? { details: details as Record<string, unknown> } : {}),
      })
    } catch {
      // Not every line is ours.
    }
  }
  return null
}

async function tailOf(logFile: string, from: number): Promise<string[]> {
  const text = (await readFile(logFile).catch(() => Buffer.alloc(0))).subarray(from).toString('utf8')
  return text
    .split('\n')
    .filter((line) => line !== '')
    .slice(-TAIL_LINES)
    .map(printable)
}
