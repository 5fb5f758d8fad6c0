import { ShiplockError } from '../../core/errors.ts'
import type { BuildLog } from './build-log.ts'
import type { CommandPlace } from './confined-run.ts'
import { findFailureCause } from './failure-cause.ts'

export interface RunCommandsOptions {
  /** The key of the configuration that holds the commands, for messages. */
  readonly name: 'build.prepareCommands' | 'build.buildCommands' | 'run.prepareCommands'
  readonly place: CommandPlace
  readonly log: BuildLog
  readonly signal: AbortSignal
  /** On the monotonic clock, in ms. */
  readonly deadline: number
}

/** Each item in a shell of its own; one with several lines is a script that stops at the first line that fails. */
export async function runCommands(commands: readonly string[], options: RunCommandsOptions): Promise<void> {
  for (const [index, command] of commands.entries()) {
    if (command.trim() === '') continue
    await runOne(command, `${options.name}[${index}]`, options)
  }
}

async function runOne(command: string, where: string, { place, log, signal, deadline }: RunCommandsOptions): Promise<void> {
  signal.throwIfAborted()
  const timeoutMs = deadline - performance.now()
  if (timeoutMs <= 0) throw timedOut(command, where, null)
  log.command(command)
  const script = command.trim()
  const flags = script.includes('\n') ? '-ec' : '-c'
  const result = await place.run(['/bin/sh', flags, script], { timeoutMs, signal, onLine: (line) => log.output(line) })
  log.flush()
  const took = seconds(result.tookMs)
  if (result.diskFull !== null) {
    log.engine(`→ stopped after ${took}: ${result.diskFull}`)
    throw outOfDisk(command, where, result.diskFull)
  }
  if (result.aborted) {
    log.engine(`→ stopped after ${took}`)
    throw signal.reason
  }
  if (result.timedOut) {
    log.engine(`→ stopped after ${took}: the time for the build is over`)
    throw timedOut(command, where, took)
  }
  const ended = result.exitCode === null ? `killed by ${result.signal}` : `exit ${result.exitCode}`
  log.engine(`→ ${ended} in ${took}`)
  if (result.exitCode === 0) return
  const { exitCode, signal: killedBy, oomKilled } = result
  throw failed({ command, where, ended, took, exitCode, signal: killedBy, oomKilled, tail: log.tail }, log)
}

interface FailedCommand {
  readonly command: string
  readonly where: string
  readonly ended: string
  readonly took: string
  readonly exitCode: number | null
  readonly signal: string | null
  readonly oomKilled: boolean
  readonly tail: readonly string[]
}

function failed(command: FailedCommand, log: BuildLog): ShiplockError {
  const cause = findFailureCause({ ...command, tail: log.recent })
  if (cause !== null) log.engine(`${cause.cause}. ${cause.suggestion}`)
  const why = cause === null ? '' : `: ${cause.cause}`
  const message = `${command.where} \`${firstLine(command.command)}\` failed (${command.ended} after ${command.took})${why}`
  return new ShiplockError('BUILD_FAILED', message, {
    details: { command: command.command, where: command.where, exitCode: command.exitCode, signal: command.signal, logTail: command.tail },
    ...(cause === null ? {} : { hint: cause.suggestion }),
  })
}

function timedOut(command: string, where: string, took: string | null): ShiplockError {
  const when = took === null ? 'before it began' : `after ${took}`
  return new ShiplockError('DEPLOYMENT_TIMEOUT', `${where} \`${firstLine(command)}\` was stopped ${when}: the time for the build is over`, {
    details: { command, where },
    hint: 'Raise build.timeout, or find out in the log what the command waits for.',
  })
}

function outOfDisk(command: string, where: string, reason: string): ShiplockError {
  return new ShiplockError('DISK_FULL', `${where} \`${firstLine(command)}\` was stopped: ${reason}`, {
    details: { command, where },
    hint: 'Let the build write less, e.g. prune development dependencies, or raise SHIPLOCK_BUILD_DISK_MB on the server.',
  })
}

function firstLine(command: string): string {
  const [line = ''] = command.trim().split('\n')
  return line.length > 80 ? `${line.slice(0, 79)}…` : line
}

function seconds(ms: number): string {
  if (ms < 100) return `${Math.round(ms)} ms`
  return ms < 10_000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.round(ms / 1000)} s`
}
