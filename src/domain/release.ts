import type { Artifact, Revision, Trigger } from './deployment.ts'
import type { DeploymentId, ReleaseId, ServiceEnvironmentId } from './ids.ts'
import type { ServiceConfig } from './service-config.ts'

/** Immutable: artifact + resolved config + sealed variables, numbered v1, v2 … per service and environment. */
export interface Release {
  readonly id: ReleaseId
  readonly serviceEnvironmentId: ServiceEnvironmentId
  readonly number: number
  /** The deployment that made it. */
  readonly deploymentId: DeploymentId
  readonly revision: Revision
  readonly artifact: Artifact
  readonly config: ServiceConfig
  readonly buildKey: string | null
  readonly trigger: Trigger
  readonly pinned: boolean
  /** When it first served, ISO time; null if it never did. */
  readonly firstLiveAt: string | null
  readonly createdAt: string
}
