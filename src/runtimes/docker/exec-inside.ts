import { type ContainerEngine, isRefusal } from '../../container-engine/engine.ts'
import { frames } from '../../container-engine/engine-frames.ts'
import { ShiplockError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import { LineSplitter } from '../../core/lines.ts'
import type { CommandOutcome } from '../runtime.ts'

/** Says the command's process id first, which is also that of its process group: an engine can't end what it executes. */
const SCRIPT = 'echo "$$"; exec /bin/sh -c "$1"'
const KILL_SCRIPT = 'kill -9 "-$1" "$1" 2>/dev/null'

/** Runs a command in a running container, with its environment, limits and user. Nothing of it runs after its time-out. */
export async function execInside(
  engine: ContainerEngine,
  container: string,
  command: string,
  options: { readonly timeoutMs: number; readonly signal: AbortSignal },
): Promise<CommandOutcome> {
  const output = new Tail()
  let group: string | null = null
  const errors = new LineSplitter((line) => output.add(line))
  const lines = new LineSplitter((line) => {
    if (group === null) group = /^\d+$/.test(line) ? line : ''
    else output.add(line)
  })
  const end = () => {
    lines.end()
    errors.end()
  }
  const late = AbortSignal.timeout(options.timeoutMs)
  const either = AbortSignal.any([late, options.signal])
  const exec = await create(engine, container, ['/bin/sh', '-c', SCRIPT, 'sh', command], options.signal)
  try {
    const { body } = await engine.stream('POST', `/exec/${exec}/start`, {
      body: { Detach: false, Tty: false },
      signal: either,
      isRepeatable: false,
    })
    for await (const { stream, data } of frames(body)) (stream === 'stderr' ? errors : lines).push(data)
    end()
    return { exitCode: await exitCodeOf(engine, exec), timedOut: false, output: output.text() }
  } catch (error) {
    if (!either.aborted) throw error
    if (group !== null && group !== '') await endGroup(engine, container, group)
    options.signal.throwIfAborted()
    end()
    return { exitCode: null, timedOut: true, output: output.text() }
  }
}

/** A file as a process in the container sees it; null when it, or the program to read it with, is not there. */
export async function readInside(engine: ContainerEngine, container: string, files: readonly string[]): Promise<string | null> {
  try {
    const exec = await create(engine, container, ['cat', ...files])
    const { body } = await engine.stream('POST', `/exec/${exec}/start`, { body: { Detach: false, Tty: false }, isRepeatable: false })
    const chunks: Buffer[] = []
    let bytes = 0
    for await (const { stream, data } of frames(body)) {
      if (stream !== 'stdout' || bytes > LIMITS.commandOutputBytes) continue
      chunks.push(data)
      bytes += data.length
    }
    return Buffer.concat(chunks).toString('latin1')
  } catch {
    return null
  }
}

async function create(engine: ContainerEngine, container: string, argv: readonly string[], signal?: AbortSignal): Promise<string> {
  try {
    const { Id } = await engine.json<{ Id: string }>('POST', `/containers/${container}/exec`, {
      body: { AttachStdout: true, AttachStderr: true, Cmd: argv },
      ...(signal === undefined ? {} : { signal }),
    })
    return Id
  } catch (error) {
    if (isRefusal(error, 404, 409)) throw new ShiplockError('CONFLICT', `nothing can be run in it: ${error.message}`)
    throw error
  }
}

async function exitCodeOf(engine: ContainerEngine, exec: string): Promise<number | null> {
  const { ExitCode } = await engine.json<{ ExitCode: number | null }>('GET', `/exec/${exec}/json`)
  return ExitCode
}

async function endGroup(engine: ContainerEngine, container: string, group: string): Promise<void> {
  try {
    const exec = await create(engine, container, ['/bin/sh', '-c', KILL_SCRIPT, 'sh', group])
    await engine.json('POST', `/exec/${exec}/start`, { body: { Detach: true, Tty: false }, isRepeatable: false })
  } catch {
    // The container ended meanwhile, and the command with it.
  }
}

/** The last lines of an output, bounded in bytes. */
class Tail {
  readonly #lines: string[] = []
  #bytes = 0

  add(line: string): void {
    this.#lines.push(line)
    this.#bytes += line.length + 1
    while (this.#bytes > LIMITS.commandOutputBytes) this.#bytes -= (this.#lines.shift()?.length ?? 0) + 1
  }

  text(): string {
    return this.#lines.join('\n')
  }
}
