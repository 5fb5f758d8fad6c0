import { statfs } from 'node:fs/promises'
import type { DiskMark } from '../config/registry-settings.ts'
import { type VolumeUse, whyFull } from '../domain/garbage.ts'
import type { DeploymentId } from '../domain/ids.ts'
import type { DiskRoom } from '../stages/stage.ts'

/** The volumes of the data directory and of the container engine, held against the mark. */
export class DiskWatch implements DiskRoom {
  readonly #mark: DiskMark
  readonly #paths: () => Promise<readonly string[]>
  /** Set once the engine is put together. */
  relieve: (deployment: DeploymentId | null) => Promise<unknown> = async () => {}
  overProject: (deployment: DeploymentId) => Promise<string | null> = async () => null

  constructor(mark: DiskMark, paths: () => Promise<readonly string[]>) {
    this.#mark = mark
    this.#paths = paths
  }

  async makeRoom(deployment: DeploymentId | null): Promise<string | null> {
    if ((await this.whyFull()) === null) return null
    await this.relieve(deployment)
    return this.whyFull()
  }

  async whyFull(): Promise<string | null> {
    const volumes = await Promise.all((await this.#paths()).map(volumeOf))
    return whyFull(
      volumes.filter((volume) => volume !== null),
      { highWaterPercent: this.#mark.percent, freeBytesMin: this.#mark.freeBytes },
    )
  }
}

/** As `df` counts: what is reserved for root is neither in use nor free. null = it can't be seen from here. */
async function volumeOf(path: string): Promise<VolumeUse | null> {
  try {
    const { blocks, bfree, bavail, bsize } = await statfs(path)
    return { path, totalBytes: (blocks - bfree + bavail) * bsize, freeBytes: bavail * bsize }
  } catch {
    return null
  }
}
