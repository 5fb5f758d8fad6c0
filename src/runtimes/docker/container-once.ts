import { chmod } from 'node:fs/promises'
import type { Clock } from '../../core/clock.ts'
import type { DeploymentId } from '../../domain/ids.ts'
import { Once } from '../process/once.ts'
import type { InstanceSpec } from '../runtime.ts'
import type { Mount } from './container-body.ts'
import type { LocalImage } from './image-of.ts'

const BIN = '/run/shiplock/bin'
const SHARED = '/run/shiplock/once'
/** Of containers whose image names none. */
const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/**
 * `shiplock-once` in containers: mounted from this host, so where the engine sees its files. Whoever an image runs as may write what the
 * instances of its deployment share; on this host nobody but us gets near it.
 */
export class ContainerOnce {
  readonly #once: Once

  constructor(directory: string, clock: Clock) {
    this.#once = new Once(directory, clock, 0o700)
  }

  async lay(
    image: LocalImage,
    { labels, env }: Pick<InstanceSpec, 'labels' | 'env'>,
  ): Promise<{ readonly mounts: readonly Mount[]; readonly env: Readonly<Record<string, string>> }> {
    const { bin, shared } = await this.#once.directories(labels.deploymentId)
    await chmod(shared, 0o777)
    return {
      mounts: [
        { source: bin, target: BIN, writable: false },
        { source: shared, target: SHARED, writable: true },
      ],
      // Last: it hides nothing of the image.
      env: { PATH: `${env.PATH ?? image.path ?? DEFAULT_PATH}:${BIN}`, SHIPLOCK_ONCE_DIR: SHARED },
    }
  }

  sweep(living: ReadonlySet<DeploymentId>): Promise<void> {
    return this.#once.sweep(living)
  }
}
