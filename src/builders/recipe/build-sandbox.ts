import { createHash } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { DiskRegistry } from '../../core/disk-writer.ts'
import type { Tenant } from '../../domain/tenant.ts'
import type { Sandbox, SandboxSpec } from '../../sandbox/sandbox.ts'
import { type CommandPlace, type ConfinedRunOptions, type ConfinedRunResult, runConfined } from './confined-run.ts'
import { DiskWatch } from './disk-watch.ts'

const MOUNT_POINT = '/build'
const CACHE_MOUNT_POINT = '/cache'

/** What one build may take of the host, where the host can hold it to that; null = no limit. */
export interface BuildLimits {
  /** Cores. */
  readonly cpus: number | null
  readonly memoryMb: number | null
  readonly diskBytes: number
  /** Who guards the volume; null = each build looks after itself. */
  readonly registry: DiskRegistry | null
}

/** What the watch over a sandbox's disk has to know of it. */
export function diskOf(
  { sandbox, tenant, limits }: { readonly sandbox: Sandbox; readonly tenant: Tenant; readonly limits: BuildLimits },
  name: string,
) {
  return {
    bytesMax: limits.diskBytes,
    registry: limits.registry,
    name,
    projectId: tenant.projectId,
    processes: () => sandbox.processes(name),
  }
}

export interface BuildSandboxOptions {
  readonly sandbox: Sandbox
  readonly key: string
  readonly tenant: Tenant
  readonly workDirectory: string
  /** Kept between builds of one service and environment, written by their tools. */
  readonly toolCacheDirectory: string
  readonly searchPath: string | null
  /** Directories of the host that bases add. */
  readonly toolDirectories: readonly { readonly directory: string; readonly bin: string }[]
  readonly limits: BuildLimits
  readonly env: Readonly<Record<string, string>>
}

/**
 * The place where one build runs: source in `/build/source`, home in `/build/home` with its `.local/bin` on PATH, shared tool caches in
 * `/cache`. Everything in `/build` but the source is what a base layer holds.
 */
export class BuildSandbox implements CommandPlace {
  /** Id of the image whose system commands see, where they run in containers. */
  image: string | null = null
  /** All of it, on the host. */
  readonly directory: string
  /** The source tree, on the host. */
  readonly sourceDirectory: string
  readonly #options: BuildSandboxOptions
  readonly #name: string
  readonly #disk: DiskWatch

  constructor(options: BuildSandboxOptions) {
    this.#options = options
    this.#name = sandboxName(options.key)
    this.directory = join(options.workDirectory, 'build')
    this.sourceDirectory = join(this.directory, 'source')
    this.#disk = new DiskWatch({ own: this.directory, shared: options.toolCacheDirectory, ...diskOf(options, this.#name) })
  }

  /** Makes the directories, with an empty source. */
  async make(): Promise<void> {
    const { toolCacheDirectory, workDirectory, sandbox, tenant } = this.#options
    await mkdir(this.sourceDirectory, { recursive: true, mode: 0o755 })
    await mkdir(join(this.directory, 'home'), { mode: 0o755 })
    await mkdir(toolCacheDirectory, { recursive: true, mode: 0o755 })
    for (const parent of [workDirectory, dirname(toolCacheDirectory)]) await sandbox.enclose(parent, tenant)
    await this.own()
    // Large after a while, so handed over only when it is new or the tenant's user changed.
    await sandbox.own(toolCacheDirectory, tenant, { unlessOwned: true })
    await this.#disk.open()
  }

  /** Hands over to the tenant's user what was put in. */
  async own(): Promise<void> {
    await this.#options.sandbox.own(this.directory, this.#options.tenant)
  }

  run(argv: readonly string[], options: ConfinedRunOptions): Promise<ConfinedRunResult> {
    return runConfined(this.#options.sandbox, this.#spec(), argv, { ...options, disk: this.#disk })
  }

  /** The same place for commands that install into the system, where it has a system of its own. */
  get asRoot(): CommandPlace {
    const { sandbox } = this.#options
    return { run: (argv, options) => runConfined(sandbox, { ...this.#spec(), asRoot: true }, argv, { ...options, disk: this.#disk }) }
  }

  /** Keeps the system as it is now as an image; goes on in it. */
  async keepSystem(tag: string): Promise<string | null> {
    const { containers } = this.#options.sandbox
    return containers === null ? null : containers.snapshot(this.#name, tag)
  }

  /** Where commands see the source; links that they made with whole paths begin with it. */
  get insideSource(): string {
    return this.#isConfined ? `${MOUNT_POINT}/source` : this.sourceDirectory
  }

  async close(): Promise<void> {
    await removeBuildSandbox(this.#options.sandbox, this.#options.key)
  }

  get #isConfined(): boolean {
    return this.#options.sandbox.description.filesystem
  }

  #spec(): Omit<SandboxSpec, 'argv' | 'pidsMax'> {
    const { tenant, toolCacheDirectory, toolDirectories, limits } = this.#options
    const cache = { source: toolCacheDirectory, target: CACHE_MOUNT_POINT, writable: true }
    const tools = toolDirectories.map(({ directory }) => ({ source: directory, target: directory, writable: false }))
    return {
      name: this.#name,
      tenant,
      image: this.image,
      env: this.#env(),
      searchFirst: [`${this.#home}/.local/bin`, ...toolDirectories.map(({ bin }) => bin)],
      directory: this.directory,
      mountPoint: MOUNT_POINT,
      mounts: [cache, ...tools.filter(({ target }) => !/^\/(usr|opt)\//.test(target))],
      workingDirectory: 'source',
      memoryMb: limits.memoryMb,
      cpus: limits.cpus,
    }
  }

  get #home(): string {
    return this.#isConfined ? `${MOUNT_POINT}/home` : join(this.directory, 'home')
  }

  #env(): Record<string, string> {
    const cache = this.#isConfined ? CACHE_MOUNT_POINT : this.#options.toolCacheDirectory
    return {
      ...(this.#options.searchPath === null ? {} : { PATH: this.#options.searchPath }),
      LANG: 'C.UTF-8',
      CI: 'true',
      // Content-addressed, checked on read and safe under parallel use, so that builds of one service may share it.
      npm_config_cache: `${cache}/npm`,
      PIP_CACHE_DIR: `${cache}/pip`,
      GOMODCACHE: `${cache}/go-mod`,
      ...toolSettings(this.#home),
      ...this.#options.env,
      HOME: this.#home,
    }
  }
}

/** Makes tools quiet, and lets what they install "globally" land in the home's prefix, where no rights are needed. */
export function toolSettings(home: string): Record<string, string> {
  return {
    npm_config_update_notifier: 'false',
    npm_config_fund: 'false',
    npm_config_audit: 'false',
    npm_config_prefix: `${home}/.local`,
    PIP_DISABLE_PIP_VERSION_CHECK: '1',
    GOBIN: `${home}/.local/bin`,
  }
}

export async function removeBuildSandbox(sandbox: Sandbox, key: string): Promise<void> {
  const name = sandboxName(key)
  await sandbox.kill(name)
  await sandbox.remove(name)
}

function sandboxName(key: string): string {
  if (/^[a-z0-9_-]{1,40}$/.test(key)) return `build-${key}`
  return `build-${createHash('sha256').update(key).digest('hex').slice(0, 24)}`
}
