import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { ShiplockError } from '../../core/errors.ts'
import { runCommand } from '../../core/exec.ts'
import { LIMITS } from '../../core/limits.ts'
import type { SandboxNetwork } from '../../sandbox/sandbox.ts'
import { type CommandOutcome, tenantOf } from '../runtime.ts'
import { CPU_CLASSES } from './cpu-classes.ts'
import type { RunRecord } from './instance-record.ts'
import { type Launcher, MOUNT_POINT } from './launcher.ts'
import { supportBeside } from './run-support.ts'

/**
 * Runs a command in the file system and environment of a running instance. It has a sandbox of its own: processes of the instance are
 * not in its sight, /tmp is its own, and it can't take memory from the instance.
 */
export async function execBeside(
  launcher: Launcher,
  directory: string,
  record: RunRecord,
  command: string,
  options: { readonly timeoutMs: number; readonly signal: AbortSignal },
): Promise<CommandOutcome> {
  const { sandbox } = launcher
  const name = `exec-${record.id}-${randomBytes(4).toString('hex')}`
  const output = new Tail()
  const support = await supportBeside(directory)
  try {
    const confined = await sandbox.prepare({
      name,
      tenant: tenantOf(record.labels),
      argv: ['/bin/sh', '-c', command],
      env: await launcher.environment(record.id),
      directory: join(directory, 'root'),
      mountPoint: MOUNT_POINT,
      mounts: support.mounts,
      searchFirst: support.searchFirst,
      workingDirectory: '',
      network: record.address == null ? null : await networkOf(launcher, record.id),
      memoryMb: record.memoryMb,
      cpus: CPU_CLASSES[record.cpu].cores,
      pidsMax: LIMITS.pidsPerInstance,
    })
    const { file, args, env, cwd } = confined
    const result = await runCommand(file, args, { env, cwd, ...options, killGraceMs: 0, onLine: (line) => output.add(line) })
    options.signal.throwIfAborted()
    return { exitCode: result.timedOut ? null : result.exitCode, timedOut: result.timedOut, output: output.text() }
  } finally {
    await sandbox.kill(name)
    await sandbox.remove(name)
  }
}

/** A command beside an instance must never run in the host's network because the instance's can't be found. */
async function networkOf({ networks }: Launcher, id: string): Promise<SandboxNetwork> {
  const network = (await networks?.present(id)) ?? null
  if (network === null) throw new ShiplockError('CONFLICT', `the network of instance ${id} is not there`)
  return network
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
