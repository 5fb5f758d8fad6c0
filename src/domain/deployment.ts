import type { DeploymentStatus, StageName } from './deployment-machine.ts'
import type {
  DeploymentId,
  Digest,
  EnvironmentId,
  InstanceId,
  ProjectId,
  ReleaseId,
  ServerId,
  ServiceEnvironmentId,
  ServiceId,
} from './ids.ts'
import type { InstanceState } from './instance-machine.ts'
import type { ServiceConfig } from './service-config.ts'

/** Where code comes from, as asked for. */
export type Source =
  | { readonly kind: 'git'; readonly url: string; readonly ref: string | null }
  | { readonly kind: 'upload'; readonly digest: Digest; readonly label: string | null }
  | { readonly kind: 'image'; readonly reference: string }

/** The exact source that was found: what a ref meant at that moment. */
export type Revision =
  | {
      readonly kind: 'git'
      readonly commit: string
      readonly message: string
      readonly author: string
      readonly ref: string
    }
  | { readonly kind: 'upload'; readonly digest: Digest }
  | { readonly kind: 'image'; readonly digest: Digest; readonly reference: string }

/** What a build yields, always named by content. */
export type Artifact =
  | TreeArtifact
  | {
      readonly kind: 'image'
      readonly digest: Digest
      readonly reference: string
      readonly command: readonly string[] | null
      readonly exposedPorts: readonly number[]
      /** Of an image that was put together from what a recipe built: that tree, which is kept with it. */
      readonly tree?: TreeArtifact
    }

export interface TreeArtifact {
  readonly kind: 'tree'
  readonly digest: Digest
  readonly files: number
  readonly bytes: number
  /** Stored tree of what `build.addToRunPrepare` selected, where it selects something. */
  readonly prepareFiles?: Digest
  /** The runtime layer that stands beside it in every instance, from prepare on, where there is one. */
  readonly runtimeLayer?: string
}

export type DeploymentKind = 'deploy' | 'rollback'

/** Who or what asked for a deployment. */
export interface Trigger {
  readonly kind: 'cli' | 'api' | 'webhook' | 'schedule' | 'agent'
  readonly actor: string
  readonly note: string | null
  /** Of a deployment that a push set off. */
  readonly push?: TriggerPush | null
}

/** What a git host said about the push. Where the code comes from is the source's matter. */
export interface TriggerPush {
  readonly provider: string
  /** Row of the delivery. */
  readonly deliveryId: string
  /** `refs/heads/…` or `refs/tags/…` */
  readonly ref: string
  readonly commit: string | null
  readonly author: string | null
  /** First line. */
  readonly message: string | null
}

export interface DeploymentOptions {
  /** Build even when a release of the same build key exists. */
  readonly rebuild: boolean
  /** Overrides the service's `deploy.autoRollback` for this deployment. */
  readonly autoRollback: boolean | null
  /** A rollback restores the variables sealed with the release; `current` takes today's. */
  readonly variables: 'sealed' | 'current'
  /** Config file inside the source, relative to its root; null = look for the known names. */
  readonly configPath: string | null
  /** Directory inside the source that holds the service, relative to its root. */
  readonly rootDirectory: string | null
  /** What to build where the configuration leaves it open: `auto` takes a Dockerfile if an engine answers. Left out = auto. */
  readonly build?: 'auto' | 'dockerfile' | 'recipe'
  /** Why it may start although the environment is frozen; null or left out = it may not. */
  readonly overrideFreeze?: string | null
}

/** One failed or passed probe of a readiness or health check, kept so that "never became ready" can be explained. */
export interface ProbeAttempt {
  readonly at: string
  readonly instanceId: InstanceId
  readonly address: string
  readonly outcome: 'passed' | 'failed'
  /** HTTP status, exit code or errno, in words: `HTTP 503`, `ECONNREFUSED`, `exit 1`, `no answer in 5000 ms`. */
  readonly result: string
  /** First bytes of the answer's body, made printable. */
  readonly body: string | null
  readonly tookMs: number
}

export interface DeploymentError {
  readonly code: string
  readonly message: string
  readonly hint: string
  readonly stage: StageName | null
  /** Last lines of the build or of the instances, oldest first. */
  readonly logTail: readonly string[]
  /** The last probes of each instance that did not become ready. */
  readonly attempts: readonly ProbeAttempt[]
}

/** What the edge saw from the swap until the drain ended: the zero-downtime receipt. */
export interface SwapReceipt {
  readonly requests: number
  /** Requests that the edge could not answer from an instance (its own 502, 503, 504). */
  readonly failures: number
  /** Longest time to first byte among those requests, in ms. */
  readonly longestStallMs: number
  readonly drainedConnections: number
  readonly cutConnections: number
  /** Time from the swap call until every edge worker had the new targets, in ms. */
  readonly flipMs: number
  readonly drainMs: number
  /** With temporaryShutdown: time during which no instance served, in ms. */
  readonly gapMs: number | null
}

/** An instance as the engine knows it. `address` is where the edge reaches it. */
export interface Instance {
  readonly id: InstanceId
  readonly deploymentId: DeploymentId
  readonly releaseId: ReleaseId
  readonly serviceEnvironmentId: ServiceEnvironmentId
  readonly serverId: ServerId
  readonly index: number
  readonly state: InstanceState
  readonly address: { readonly host: string; readonly port: number } | null
  readonly restarts: number
  /** End of standby, ISO time; null unless standby. */
  readonly standbyUntil: string | null
}

/** What the stages found out so far; grows stage by stage and survives crashes with the deployment's row. */
export interface DeploymentFacts {
  readonly revision: Revision | null
  /** Absolute path of the fetched source; exists from fetch until the deployment settles. */
  readonly workspace: string | null
  /** Resolved at fetch, never changed afterwards. */
  readonly config: ServiceConfig | null
  /** What was detected or read, for people. */
  readonly configOrigin: string | null
  readonly buildKey: string | null
  readonly artifact: Artifact | null
  readonly scan: ScanVerdict | null
  readonly published: { readonly reference: string | null; readonly note: string } | null
  readonly releaseCommand: { readonly exitCode: number; readonly tookMs: number } | null
  readonly attempts: readonly ProbeAttempt[]
  /** With temporaryShutdown: when the last old instance had stopped, ISO time. */
  readonly oldStoppedAt: string | null
  /** Generation of the route that this deployment's swap made. */
  readonly generation: number | null
  readonly receipt: SwapReceipt | null
  readonly warnings: readonly string[]
}

/** What the scan stage decided; the report itself is stored apart. */
export interface ScanVerdict {
  readonly outcome: 'passed' | 'warned' | 'partial' | 'blocked' | 'skipped' | 'unknown'
  readonly note: string
  readonly critical: number
  readonly high: number
  readonly medium: number
  readonly low: number
  /** The deployment whose stored report this was decided on: this one, or an earlier one of an identical artifact. */
  readonly report?: DeploymentId
  /** With block-new: what live was known by. */
  readonly baseline?: { readonly name: string; readonly report: DeploymentId } | null
}

/** How a deployment that is not going to serve ends, once that is decided but not yet carried out. */
export type Verdict = 'failed' | 'canceled'

export interface Deployment {
  readonly id: DeploymentId
  readonly projectId: ProjectId
  readonly environmentId: EnvironmentId
  readonly serviceId: ServiceId
  readonly serviceEnvironmentId: ServiceEnvironmentId
  readonly kind: DeploymentKind
  readonly source: Source | null
  readonly trigger: Trigger
  readonly options: DeploymentOptions
  readonly status: DeploymentStatus
  readonly stage: StageName | null
  readonly statusReason: string
  readonly error: DeploymentError | null
  /** Decided, undo under way; null while the deployment still means to go live. */
  readonly verdict: Verdict | null
  readonly settled: boolean
  readonly releaseId: ReleaseId | null
  /** The release that a rollback goes back to. */
  readonly rollbackTo: ReleaseId | null
  readonly replacedBy: DeploymentId | null
  readonly cancelRequested: boolean
  readonly facts: DeploymentFacts
  readonly createdAt: string
  readonly startedAt: string | null
  readonly settledAt: string | null
}

export const EMPTY_FACTS: DeploymentFacts = {
  revision: null,
  workspace: null,
  config: null,
  configOrigin: null,
  buildKey: null,
  artifact: null,
  scan: null,
  published: null,
  releaseCommand: null,
  attempts: [],
  oldStoppedAt: null,
  generation: null,
  receipt: null,
  warnings: [],
}
