import { type CommandResult, runCommand } from '../../core/exec.ts'
import { LIMITS } from '../../core/limits.ts'
import type { Sandbox, SandboxSpec } from '../../sandbox/sandbox.ts'
import type { DiskWatch } from './disk-watch.ts'

export interface ConfinedRunOptions {
  readonly timeoutMs: number
  readonly signal: AbortSignal
  readonly onLine: (line: string) => void
}

export interface ConfinedRunResult extends CommandResult {
  readonly oomKilled: boolean
  /** Why the disk made an end of it; null when it did not. */
  readonly diskFull: string | null
}

/** A place in which commands can be run to their end. */
export interface CommandPlace {
  run(argv: readonly string[], options: ConfinedRunOptions): Promise<ConfinedRunResult>
}

/** Builds give way to what serves. */
const BUILD_CPU_WEIGHT = 50

/** Runs a command in a sandbox to the end; nothing that it started is left when this resolves. */
export async function runConfined(
  sandbox: Sandbox,
  spec: Omit<SandboxSpec, 'argv' | 'pidsMax' | 'cpuWeight'>,
  argv: readonly string[],
  { disk, ...options }: ConfinedRunOptions & { readonly disk: DiskWatch | null },
): Promise<ConfinedRunResult> {
  const complete = { ...spec, argv, cpuWeight: BUILD_CPU_WEIGHT, pidsMax: LIMITS.buildProcesses }
  const signal = disk === null ? options.signal : AbortSignal.any([options.signal, disk.signal])
  disk?.start()
  try {
    const run = sandbox.containers === null ? runOnHost : sandbox.containers.run
    const result = await run(complete, { ...options, signal }, sandbox)
    await disk?.stop()
    const { oomKilled } = await sandbox.usage(spec.name)
    return { ...result, aborted: options.signal.aborted && result.aborted, oomKilled, diskFull: disk?.reason ?? null }
  } finally {
    await disk?.stop()
  }
}

async function runOnHost(spec: SandboxSpec, options: ConfinedRunOptions, sandbox: Sandbox): Promise<CommandResult> {
  const command = await sandbox.prepare(spec)
  return runCommand(command.file, command.args, {
    cwd: command.cwd,
    env: command.env,
    ...(command.uid === undefined ? {} : { uid: command.uid }),
    ...(command.gid === undefined ? {} : { gid: command.gid }),
    signal: options.signal,
    timeoutMs: options.timeoutMs,
    onLine: (line) => options.onLine(line),
    onSpawn: (pid) => command.attach(pid),
    // What left the process group (setsid, double fork) still belongs to the sandbox, and may hold the output open.
    onEnd: () => sandbox.kill(spec.name),
  })
}
