import type { Artifact, TreeArtifact } from '../domain/deployment.ts'
import type { EnvironmentId, ProjectId, ServiceEnvironmentId } from '../domain/ids.ts'
import type { RunConfig } from '../domain/service-config.ts'
import type { BuildRequest } from './builder.ts'
import type { FoundLayer } from './runtime-layers.ts'

export interface AssembleRequest {
  readonly projectId: ProjectId
  readonly environmentId: EnvironmentId
  readonly serviceEnvironmentId: ServiceEnvironmentId
  readonly names: BuildRequest['names']
  readonly tree: TreeArtifact
  /** Where the tree stands, read only. */
  readonly treeDirectory: string
  readonly layer: FoundLayer | null
  readonly config: Pick<RunConfig, 'os' | 'base'>
  readonly onLine: (line: string) => void
  readonly signal: AbortSignal
}

/**
 * Makes an image of what a recipe built, for runtimes that run images only: the base or the runtime layer, the tree at `/var/www`, and
 * nothing else. From then on it is an image like any other: scanned, published and run by its digest.
 */
export interface ImageAssembler {
  /** Finds the image of exactly these inputs, or makes it. */
  assemble(request: AssembleRequest): Promise<{ readonly artifact: Extract<Artifact, { kind: 'image' }>; readonly isReused: boolean }>
}
