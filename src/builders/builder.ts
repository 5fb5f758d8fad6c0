import type { Artifact } from '../domain/deployment.ts'
import type { Digest, EnvironmentId, ProjectId, ServiceEnvironmentId } from '../domain/ids.ts'
import type { BuildConfig } from '../domain/service-config.ts'

export interface BuildRequest {
  /** Names the sandbox; a rerun with the same key first removes what an earlier run left. */
  readonly key: string
  readonly projectId: ProjectId
  readonly environmentId: EnvironmentId
  readonly serviceEnvironmentId: ServiceEnvironmentId
  /** For names and labels that people and garbage collection read. */
  readonly names: { readonly project: string; readonly environment: string; readonly service: string }
  readonly config: BuildConfig
  /** Fetched source (the service's root directory in it); the builder copies, never changes it. */
  readonly sourceDirectory: string
  /** Scratch space of this build, fresh, removed by `cleanUp`. */
  readonly workDirectory: string
  /** Shared by builds of this service and environment, for caches. */
  readonly cacheDirectory: string
  readonly env: Readonly<Record<string, string>>
  /** What the run needs: named files are checked, so that a start command without its file fails here. */
  readonly startCommands: readonly string[]
  readonly timeoutMs: number
  readonly onLine: (line: string, kind: 'engine' | 'command' | 'build') => void
  readonly signal: AbortSignal
}

export type BuildOutput =
  /** `prepareDirectory`: what `build.addToRunPrepare` names, for the runtime layer; null when it names nothing. */
  | { readonly kind: 'tree'; readonly directory: string; readonly prepareDirectory?: string | null }
  | { readonly kind: 'image'; readonly artifact: Extract<Artifact, { kind: 'image' }> }

export interface Builder {
  readonly kind: BuildConfig['kind']
  /** Content key: equal keys give equal artifacts, so that the build may be skipped. */
  buildKey(request: Pick<BuildRequest, 'config' | 'sourceDirectory' | 'env'>): Promise<Digest>
  build(request: BuildRequest): Promise<BuildOutput>
  /** Whether an image of an earlier build is still there. Trees are the artifact store's matter. */
  isKept?(artifact: Extract<Artifact, { kind: 'image' }>): Promise<boolean>
  /** Removes sandbox and scratch of that key, whatever state they are in; a missing one is success. */
  cleanUp(request: Pick<BuildRequest, 'key' | 'workDirectory'>): Promise<void>
}
