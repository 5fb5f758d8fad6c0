import type { StoredImage } from '../domain/garbage.ts'

/** Images and build cache of the container engine, for whoever clears up. Every call may be made twice. */
export interface ImageStore {
  /** For the label on what is built here. */
  readonly owner: string
  /** Whether the engine answered when it was asked last. */
  readonly isReachable: boolean
  /** Where the engine keeps them, when that is a directory of this host. */
  root(): Promise<string | null>
  list(): Promise<readonly StoredImage[]>
  /** Takes names away, and the image when none is left. False = a container uses it. */
  remove(image: StoredImage, names: readonly string[]): Promise<boolean>
  /** What layers and build cache need, in bytes. */
  usedBytes(): Promise<number>
  /** Drops build cache, least recently used first, until no more than this is left. Returns the bytes that went; 0 where the engine has none. */
  pruneBuildCache(keepBytes: number): Promise<number>
  /** Removes networks of ours that no container belongs to; how many went. */
  pruneNetworks(): Promise<number>
}
