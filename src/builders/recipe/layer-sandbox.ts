import { createHash } from 'node:crypto'
import { dirname, join } from 'node:path'
import type { Tenant } from '../../domain/tenant.ts'
import type { Sandbox } from '../../sandbox/sandbox.ts'
import { type BuildLimits, diskOf, toolSettings } from './build-sandbox.ts'
import { type CommandPlace, type ConfinedRunOptions, type ConfinedRunResult, runConfined } from './confined-run.ts'
import { DiskWatch } from './disk-watch.ts'

const CACHE_MOUNT_POINT = '/cache'

export interface LayerSandboxOptions {
  readonly sandbox: Sandbox
  readonly key: string
  readonly tenant: Tenant
  /** The home, on the host. */
  readonly directory: string
  /** The home, as commands and instances see it. */
  readonly home: string
  readonly toolCacheDirectory: string | null
  readonly toolDirectories: readonly string[]
  readonly limits: BuildLimits
  readonly env: Readonly<Record<string, string>>
  /** Id of the image whose system commands see, where they run in containers. */
  readonly image: string | null
}

/** The place where a runtime layer is prepared: a home like the one that instances will have, and nothing of the application. */
export class LayerSandbox implements CommandPlace {
  readonly #options: LayerSandboxOptions
  readonly #disk: DiskWatch

  constructor(options: LayerSandboxOptions) {
    this.#options = options
    const disk = diskOf(options, layerSandboxName(options.key))
    this.#disk = new DiskWatch({ own: options.directory, shared: options.toolCacheDirectory, ...disk })
  }

  /** Hands the home over to the tenant's user. */
  async open(): Promise<void> {
    const { sandbox, directory, tenant } = this.#options
    await sandbox.enclose(dirname(directory), tenant)
    await sandbox.own(directory, tenant)
    await this.#disk.open()
  }

  /** Keeps the system as the commands left it as an image, where it is one of its own. */
  async keepSystem(tag: string): Promise<string | null> {
    const { sandbox, key } = this.#options
    return sandbox.containers === null ? null : sandbox.containers.snapshot(layerSandboxName(key), tag)
  }

  run(argv: readonly string[], options: ConfinedRunOptions): Promise<ConfinedRunResult> {
    const { sandbox, key, tenant, directory, home, toolCacheDirectory, toolDirectories, limits, image } = this.#options
    const isConfined = sandbox.description.filesystem
    const inside = isConfined ? home : directory
    const cache = isConfined ? CACHE_MOUNT_POINT : toolCacheDirectory
    return runConfined(
      sandbox,
      {
        name: layerSandboxName(key),
        tenant,
        image,
        asRoot: true,
        env: {
          LANG: 'C.UTF-8',
          CI: 'true',
          ...(toolCacheDirectory === null
            ? {}
            : { npm_config_cache: `${cache}/npm`, PIP_CACHE_DIR: `${cache}/pip`, GOMODCACHE: `${cache}/go-mod` }),
          ...toolSettings(inside),
          ...this.#options.env,
          HOME: inside,
        },
        searchFirst: [join(inside, '.local/bin'), ...toolDirectories],
        directory,
        mountPoint: home,
        mounts: toolCacheDirectory === null ? [] : [{ source: toolCacheDirectory, target: CACHE_MOUNT_POINT, writable: true }],
        workingDirectory: '',
        memoryMb: limits.memoryMb,
        cpus: limits.cpus,
      },
      argv,
      { ...options, disk: this.#disk },
    )
  }
}

export async function removeLayerSandbox(sandbox: Sandbox, key: string): Promise<void> {
  await sandbox.kill(layerSandboxName(key))
  await sandbox.remove(layerSandboxName(key))
}

function layerSandboxName(key: string): string {
  if (/^[a-z0-9_-]{1,40}$/.test(key)) return `prepare-${key}`
  return `prepare-${createHash('sha256').update(key).digest('hex').slice(0, 24)}`
}
