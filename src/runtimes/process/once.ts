import { mkdir, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { writeFileAtomic } from '../../core/atomic-file.ts'
import type { Clock } from '../../core/clock.ts'
import { usage } from '../../core/disk-use.ts'
import { LIMITS } from '../../core/limits.ts'
import { removeTree } from '../../core/remove-tree.ts'
import type { DeploymentId } from '../../domain/ids.ts'
import type { Sandbox } from '../../sandbox/sandbox.ts'
import { type Labels, tenantOf } from '../runtime.ts'
import { ONCE_SCRIPT } from './once-script.ts'
import type { LaidSupport } from './run-support.ts'

const INSIDE = '/run/shiplock'
const DEPLOYMENT_ID = /^[A-Za-z0-9_-]{1,100}$/

/**
 * `shiplock-once` for instances: the program on their PATH, and a directory that all instances of one deployment share and no other
 * deployment sees. What was recorded there outlives restarts and replacements of instances.
 */
export class Once {
  readonly #directory: string
  readonly #clock: Clock
  readonly #mode: number
  #program: Promise<void> | null = null

  /** `mode`: of the directory that holds those of all deployments. */
  constructor(directory: string, clock: Clock, mode = 0o711) {
    this.#directory = directory
    this.#clock = clock
    this.#mode = mode
  }

  /** On this host: where the program is, and what the instances of that deployment share. */
  async directories(deploymentId: DeploymentId): Promise<{ readonly bin: string; readonly shared: string }> {
    const bin = join(this.#directory, 'bin')
    this.#program ??= this.#write(bin)
    await this.#program
    const shared = this.#shared(deploymentId)
    // Two instances start at once: making it twice is no harm, nor is giving it away twice.
    await mkdir(shared, { recursive: true, mode: 0o700 })
    return { bin, shared }
  }

  async lay(sandbox: Sandbox, labels: Labels): Promise<LaidSupport> {
    const { bin, shared } = await this.directories(labels.deploymentId)
    await sandbox.own(shared, tenantOf(labels), { unlessOwned: true })
    if (!sandbox.description.filesystem) return { mounts: [], searchFirst: [bin], env: { SHIPLOCK_ONCE_DIR: shared } }
    const inside = { bin: join(INSIDE, 'bin'), shared: join(INSIDE, 'once') }
    return {
      mounts: [
        { source: bin, target: inside.bin, writable: false },
        { source: shared, target: inside.shared, writable: true },
      ],
      searchFirst: [inside.bin],
      env: { SHIPLOCK_ONCE_DIR: inside.shared },
    }
  }

  /**
   * Removes what deployments without instances left. Not at once: between the removal of an instance and the start of its replacement
   * a deployment may have none, and what it did once must not be done again.
   */
  async sweep(living: ReadonlySet<DeploymentId>): Promise<void> {
    const parent = join(this.#directory, 'deployments')
    for (const name of await readdir(parent).catch(() => [])) {
      if (living.has(name as DeploymentId)) continue
      const path = join(parent, name)
      const changed = await stat(path).catch(() => null)
      if (changed !== null && this.#clock.now() - changed.mtimeMs > LIMITS.onceKeptMs) await removeTree(path)
    }
  }

  /** Where the instances of that deployment may write, on this host. */
  sharedBy(deploymentId: DeploymentId): string {
    return this.#shared(deploymentId)
  }

  /** It holds a few small files; who fills it with others loses all of them. */
  async trim(deploymentId: DeploymentId): Promise<void> {
    const [bytes = 0] = await usage([this.#shared(deploymentId)])
    if (bytes > LIMITS.onceBytes) await removeTree(this.#shared(deploymentId))
  }

  async #write(bin: string): Promise<void> {
    await mkdir(bin, { recursive: true, mode: 0o755 })
    await mkdir(join(this.#directory, 'deployments'), { recursive: true, mode: this.#mode })
    await writeFileAtomic(join(bin, 'shiplock-once'), `#!/bin/sh\n${ONCE_SCRIPT}\n`, 0o755)
  }

  #shared(deploymentId: DeploymentId): string {
    if (!DEPLOYMENT_ID.test(deploymentId)) throw new Error(`${JSON.stringify(deploymentId)} is no deployment id`)
    return join(this.#directory, 'deployments', deploymentId)
  }
}
