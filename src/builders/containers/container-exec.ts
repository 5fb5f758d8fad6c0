import { type ContainerEngine, isRefusal } from '../../container-engine/engine.ts'
import { frames } from '../../container-engine/engine-frames.ts'
import type { CommandResult } from '../../core/exec.ts'
import { LineSplitter } from '../../core/lines.ts'
import type { ContainerRunOptions } from '../../sandbox/sandbox.ts'

export interface ContainerCommand {
  readonly argv: readonly string[]
  readonly env: Readonly<Record<string, string>>
  /** `uid:gid`. */
  readonly user: string
  readonly workingDirectory: string
}

/** Nothing but the first process is left. As the first process itself can't be killed from inside, this ends only what was executed. */
const KILL_ALL = ['/bin/sh', '-c', 'kill -9 -1']
const STDERR_TAIL_LINES = 40

/**
 * Runs a command in a running container to its end; nothing that it started is left when this resolves. An engine can't end what it
 * executes, so the time-out and the signal end everything in the container but its first process. @throws when the engine is away
 */
export async function runInContainer(
  engine: ContainerEngine,
  container: string,
  command: ContainerCommand,
  options: ContainerRunOptions,
): Promise<CommandResult> {
  options.signal.throwIfAborted()
  const started = performance.now()
  const late = AbortSignal.timeout(Math.ceil(Math.max(1, Math.min(options.timeoutMs, TIMEOUT_MAX_MS))))
  const either = AbortSignal.any([options.signal, late])
  const tail: string[] = []
  const lines = new LineSplitter((line) => {
    tail.push(line)
    if (tail.length > STDERR_TAIL_LINES) tail.shift()
    options.onLine(line)
  })
  const exec = await createExec(engine, container, command)
  let isCut = false
  try {
    const { body } = await engine.stream('POST', `/exec/${exec}/start`, {
      body: { Detach: false, Tty: false },
      signal: either,
      isRepeatable: false,
      timeoutMs: null,
    })
    // The output ends with whoever holds it, which may be a process left behind; the command's own end is what counts.
    for await (const { data } of untilEnded(engine, exec, frames(body))) lines.push(data)
  } catch (error) {
    if (!either.aborted) throw error
    isCut = true
  }
  await endAll(engine, container)
  lines.end()
  const exitCode = isCut ? null : await exitCodeOf(engine, exec)
  return {
    exitCode,
    signal: isCut ? 'SIGKILL' : null,
    stdout: '',
    stderrTail: tail,
    timedOut: isCut && !options.signal.aborted,
    aborted: isCut && options.signal.aborted,
    tookMs: performance.now() - started,
  }
}
const TIMEOUT_MAX_MS = 2_147_483_647

/** Ends everything that was executed in the container. One that does not run has nothing to end. */
export async function endAll(engine: ContainerEngine, container: string): Promise<void> {
  try {
    const exec = await createExec(engine, container, { argv: KILL_ALL, env: {}, user: '0:0', workingDirectory: '/' })
    const { body } = await engine.stream('POST', `/exec/${exec}/start`, { body: { Detach: false, Tty: false }, isRepeatable: false })
    for await (const _ of frames(body));
  } catch (error) {
    if (!isRefusal(error, 404, 409)) throw error
  }
}

async function createExec(engine: ContainerEngine, container: string, command: ContainerCommand): Promise<string> {
  const { Id } = await engine.json<{ Id: string }>('POST', `/containers/${container}/exec`, {
    body: {
      AttachStdout: true,
      AttachStderr: true,
      Cmd: command.argv,
      Env: Object.entries(command.env).map(([name, value]) => `${name}=${value}`),
      User: command.user,
      WorkingDir: command.workingDirectory,
    },
  })
  return Id
}

/** Frames until the stream ends, or until a look finds the command ended with nothing more to read for a moment. */
async function* untilEnded<Frame>(engine: ContainerEngine, exec: string, source: AsyncGenerator<Frame>): AsyncGenerator<Frame> {
  let next = source.next()
  for (;;) {
    const pause = new AbortController()
    const quiet = new Promise<'quiet'>((resolve) => {
      const timer = setTimeout(() => resolve('quiet'), QUIET_MS)
      pause.signal.addEventListener('abort', () => clearTimeout(timer), { once: true })
    })
    const first = await Promise.race([next, quiet])
    pause.abort()
    if (first === 'quiet') {
      if (await isRunning(engine, exec)) continue
      const last = await Promise.race([next, new Promise<null>((resolve) => setTimeout(() => resolve(null), QUIET_MS))])
      if (last === null || last.done === true) {
        // Left open by a process that the command started; it is ended with the rest.
        next.catch(() => {})
        return
      }
      yield last.value
      next = source.next()
      continue
    }
    if (first.done === true) return
    yield first.value
    next = source.next()
  }
}
const QUIET_MS = 500

async function isRunning(engine: ContainerEngine, exec: string): Promise<boolean> {
  const { Running } = await engine.json<{ Running: boolean }>('GET', `/exec/${exec}/json`)
  return Running
}

async function exitCodeOf(engine: ContainerEngine, exec: string): Promise<number | null> {
  const { ExitCode } = await engine.json<{ ExitCode: number | null }>('GET', `/exec/${exec}/json`)
  return ExitCode
}
