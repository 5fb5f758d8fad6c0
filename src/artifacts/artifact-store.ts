import type { Artifact } from '../domain/deployment.ts'
import type { Digest } from '../domain/ids.ts'

export type TreeArtifact = Extract<Artifact, { kind: 'tree' }>

/** File trees by content digest. Equal trees share storage; what is stored never changes. */
export interface ArtifactStore {
  /** Takes the tree over (moves or copies); symlinks that leave the tree are refused. Storing the same tree twice is success. */
  put(directory: string): Promise<TreeArtifact>
  /** Absolute path of the stored tree, read only; null when it is not there. */
  find(digest: Digest): Promise<string | null>
  /** Recomputes the digest; false = damaged (I7). */
  verify(digest: Digest): Promise<boolean>
  remove(digest: Digest): Promise<void>
  list(): Promise<readonly { readonly digest: Digest; readonly bytes: number }[]>
}
