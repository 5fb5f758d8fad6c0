import { createHash } from 'node:crypto'
import { mkdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { type CommandResult, runCommand } from '../../core/exec.ts'
import { LIMITS } from '../../core/limits.ts'
import type { ProjectId } from '../../domain/ids.ts'
import type { Sandbox } from '../../sandbox/sandbox.ts'

const MOUNT_POINT = '/build'
const CACHE_MOUNT_POINT = '/cache'

export interface BuildSandboxOptions {
  readonly sandbox: Sandbox
  readonly key: string
  readonly projectId: ProjectId
  readonly workDirectory: string
  /** Kept between builds of one service and environment, written by their tools. */
  readonly toolCacheDirectory: string
  readonly searchPath: string | null
  readonly memoryMb: number | null
  readonly cpus: number | null
  readonly env: Readonly<Record<string, string>>
}

export interface BuildCommandOptions {
  readonly timeoutMs: number
  readonly signal: AbortSignal
  readonly onLine: (line: string) => void
}

/** The place where one build runs. Source in `/build/source`, home in `/build/home`, shared tool caches in `/cache`. */
export class BuildSandbox {
  /** The source tree, on the host. */
  readonly sourceDirectory: string
  readonly #options: BuildSandboxOptions
  readonly #name: string
  readonly #directory: string

  constructor(options: BuildSandboxOptions) {
    this.#options = options
    this.#name = sandboxName(options.key)
    this.#directory = join(options.workDirectory, 'build')
    this.sourceDirectory = join(this.#directory, 'source')
  }

  /** Makes the directories; the source is to be put into `sourceDirectory` before `open`. */
  async make(): Promise<void> {
    await mkdir(this.#directory, { recursive: true, mode: 0o755 })
    await mkdir(join(this.#directory, 'home'), { mode: 0o755 })
  }

  /** Hands the directories over to the project's user. */
  async open(): Promise<void> {
    const { sandbox, projectId, toolCacheDirectory } = this.#options
    await sandbox.own(this.#directory, projectId)
    await mkdir(toolCacheDirectory, { recursive: true, mode: 0o755 })
    // Large after a while, so handed over only when it is new or the project's user changed.
    const user = (await stat(this.#directory)).uid
    if ((await stat(toolCacheDirectory)).uid !== user) await sandbox.own(toolCacheDirectory, projectId)
  }

  /** Runs to the end; nothing that the command started is left when this resolves. */
  async run(argv: readonly string[], options: BuildCommandOptions): Promise<CommandResult & { readonly oomKilled: boolean }> {
    const { sandbox, projectId, toolCacheDirectory, memoryMb, cpus } = this.#options
    const command = await sandbox.prepare({
      name: this.#name,
      projectId,
      argv,
      env: this.#env(),
      directory: this.#directory,
      mountPoint: MOUNT_POINT,
      mounts: [{ source: toolCacheDirectory, target: CACHE_MOUNT_POINT, writable: true }],
      workingDirectory: 'source',
      memoryMb,
      cpus,
      cpuWeight: BUILD_CPU_WEIGHT,
      pidsMax: LIMITS.buildProcesses,
    })
    const result = await runCommand(command.file, command.args, {
      cwd: command.cwd,
      env: command.env,
      ...(command.uid === undefined ? {} : { uid: command.uid }),
      ...(command.gid === undefined ? {} : { gid: command.gid }),
      signal: options.signal,
      timeoutMs: options.timeoutMs,
      onLine: (line) => options.onLine(line),
      onSpawn: (pid) => command.attach(pid),
      // What left the process group (setsid, double fork) still belongs to the sandbox, and may hold the output open.
      onEnd: () => sandbox.kill(this.#name),
    })
    const { oomKilled } = await sandbox.usage(this.#name)
    return { ...result, oomKilled }
  }

  /** Where commands see the source; links that they made with whole paths begin with it. */
  get insideSource(): string {
    return this.#options.sandbox.description.filesystem ? `${MOUNT_POINT}/source` : this.sourceDirectory
  }

  async close(): Promise<void> {
    await removeBuildSandbox(this.#options.sandbox, this.#options.key)
  }

  #env(): Record<string, string> {
    const inside = this.#options.sandbox.description.filesystem
    const home = inside ? `${MOUNT_POINT}/home` : join(this.#directory, 'home')
    const cache = inside ? CACHE_MOUNT_POINT : this.#options.toolCacheDirectory
    return {
      ...(this.#options.searchPath === null ? {} : { PATH: this.#options.searchPath }),
      LANG: 'C.UTF-8',
      CI: 'true',
      // Content-addressed, checked on read and safe under parallel use, so that builds of one service may share it.
      npm_config_cache: `${cache}/npm`,
      npm_config_update_notifier: 'false',
      npm_config_fund: 'false',
      npm_config_audit: 'false',
      PIP_CACHE_DIR: `${cache}/pip`,
      GOMODCACHE: `${cache}/go-mod`,
      ...this.#options.env,
      HOME: home,
    }
  }
}

/** Builds give way to what serves. */
const BUILD_CPU_WEIGHT = 50

export async function removeBuildSandbox(sandbox: Sandbox, key: string): Promise<void> {
  const name = sandboxName(key)
  await sandbox.kill(name)
  await sandbox.remove(name)
}

function sandboxName(key: string): string {
  if (/^[a-z0-9_-]{1,40}$/.test(key)) return `build-${key}`
  return `build-${createHash('sha256').update(key).digest('hex').slice(0, 24)}`
}
