import type { Digest, EnvironmentId, ProjectId, ServiceEnvironmentId } from '../domain/ids.ts'
import type { RunConfig } from '../domain/service-config.ts'
import type { BuildRequest } from './builder.ts'

export interface RuntimeLayerRequest {
  /** Names the sandbox; a rerun with the same key first removes what an earlier run left. */
  readonly key: string
  readonly projectId: ProjectId
  readonly environmentId: EnvironmentId
  readonly serviceEnvironmentId: ServiceEnvironmentId
  readonly config: Pick<RunConfig, 'os' | 'base' | 'prepareCommands'>
  /** Where instances will see the layer: `/home/shiplock`, or what a dialect calls it. */
  readonly home: string
  /** The artifact: says what it is written in where no base is named. Never part of a layer. */
  readonly treeDirectory: string
  /** What `build.addToRunPrepare` selected, stored by content; copied into the home before the commands run. */
  readonly files: { readonly digest: Digest; readonly directory: string } | null
  /** Shared with the builds of this service and environment. */
  readonly cacheDirectory: string
  readonly env: Readonly<Record<string, string>>
  readonly timeoutMs: number
  readonly onLine: BuildRequest['onLine']
  readonly signal: AbortSignal
}

export interface PreparedLayer {
  readonly id: string
  readonly files: number
  readonly bytes: number
  /** Why it could or could not be taken over, in words. */
  readonly reason: string
  readonly isReused: boolean
}

export type LayerBaseRequest = Pick<
  RuntimeLayerRequest,
  'key' | 'projectId' | 'environmentId' | 'serviceEnvironmentId' | 'config' | 'treeDirectory' | 'onLine' | 'signal'
>

export interface FoundLayer {
  readonly directory: string
  readonly home: string
  /** Id of the image that goes with it, where the commands ran in a container. */
  readonly image: string | null
}

export interface RuntimeLayerSummary {
  readonly serviceEnvironmentId: ServiceEnvironmentId
  readonly id: string
  readonly bytes: number
  readonly madeAt: string
  readonly usedAt: string
  /** Id of the image that goes with it, where it was made in a container. */
  readonly image?: string
}

/**
 * What `run.prepareCommands` make: a home directory for instances, with tools in its `.local/bin`. Never holds application code.
 * Made once per content of its inputs and never changed; a release names the one it runs with, so that a rollback gets the same.
 */
export interface RuntimeLayers {
  /** @throws BASE_UNAVAILABLE when instances can't have that base here */
  checkBase(request: LayerBaseRequest): Promise<void>
  /** Finds the layer of these inputs, or makes it. */
  prepare(request: RuntimeLayerRequest): Promise<PreparedLayer>
  /** Where a layer stands, read only; null when it is not there. */
  find(serviceEnvironmentId: ServiceEnvironmentId, id: string): Promise<FoundLayer | null>
  /** Directories of programs that a base adds for instances. */
  toolDirectories(base: string | null): readonly string[]
  /** The next deployment prepares anew; layers of kept releases stay. Returns how many are affected. */
  invalidate(serviceEnvironmentId: ServiceEnvironmentId): Promise<number>
  list(): Promise<readonly RuntimeLayerSummary[]>
  remove(serviceEnvironmentId: ServiceEnvironmentId, id: string): Promise<void>
  /** Ends what runs under that key; a missing one is success. */
  cleanUp(key: string): Promise<void>
}
