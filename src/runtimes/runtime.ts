import type { DiskWriter } from '../core/disk-writer.ts'
import type { Artifact } from '../domain/deployment.ts'
import type { DeploymentId, EnvironmentId, InstanceId, ProjectId, ReleaseId, ServiceEnvironmentId } from '../domain/ids.ts'
import type { CpuClass, SiteConfig } from '../domain/service-config.ts'
import type { Tenant } from '../domain/tenant.ts'

/** What a runtime can do: data, so that callers decide before they call. */
export interface RuntimeCapabilities {
  readonly artifacts: readonly Artifact['kind'][]
  /** A stopped instance can be started again as it was. */
  readonly restartsStopped: boolean
  readonly memoryLimit: boolean
  readonly cpuLimit: boolean
  readonly regions: readonly string[]
}

export interface RuntimeHealth {
  readonly ok: boolean
  /** One sentence: what is there, or what is missing and how to get it. */
  readonly summary: string
}

export interface Labels {
  readonly projectId: ProjectId
  /** Left out = not known: it was launched before environments were told apart. */
  readonly environmentId?: EnvironmentId
  readonly serviceEnvironmentId: ServiceEnvironmentId
  readonly deploymentId: DeploymentId
  readonly releaseId: ReleaseId
  /** For people: project/environment/service. */
  readonly title: string
}

/** Whose code it is. */
export function tenantOf({ projectId, environmentId }: Labels): Tenant {
  return { projectId, environmentId: environmentId ?? null }
}

/** What stands beside the artifact in instances and tasks. */
export interface RuntimeSupport {
  /** What `run.prepareCommands` made, read only for the runtime, and the home directory as which instances see a copy of it. */
  readonly layer: { readonly directory: string; readonly home: string } | null
  /** Directories of programs that `run.base` puts first on the PATH. */
  readonly toolDirectories: readonly string[]
  /** For runtimes of containers: the image that a file tree runs in, as `run.base` says. */
  readonly image?: string
}

export interface InstanceSpec {
  readonly id: InstanceId
  readonly labels: Labels
  readonly artifact: Artifact
  /** Directory that holds the tree artifact, read only for the runtime; null for images. */
  readonly artifactDirectory: string | null
  readonly support?: RuntimeSupport
  readonly initCommands: readonly string[]
  readonly initFailure: 'continue' | 'fail'
  readonly startCommands: readonly string[]
  readonly staticRoot: string | null
  readonly site?: SiteConfig
  /** Where the service answers, for proxies that read it from containers. */
  readonly host?: string
  /** Port that the app listens on; null = the runtime chooses and says it in PORT. */
  readonly port: number | null
  /** Complete, references resolved, SHIPLOCK_* included; PORT and SHIPLOCK_INSTANCE are the runtime's to set. */
  readonly env: Readonly<Record<string, string>>
  readonly cpu: CpuClass
  readonly memoryMb: number
  /** With its copy of the artifact and its log; null = as much as the server lets one have. */
  readonly diskMb?: number | null
  readonly ociRuntime: string | null
  /** SIGTERM to SIGKILL. */
  readonly stopTimeoutMs: number
}

/** A one-off command in an artifact: the release command. */
export interface TaskSpec {
  /** Deterministic: a second run with the same id finds the first one's result instead of running again, where one was left. */
  readonly id: string
  readonly labels: Labels
  readonly artifact: Artifact
  readonly artifactDirectory: string | null
  readonly support?: RuntimeSupport
  readonly command: string
  readonly env: Readonly<Record<string, string>>
  readonly cpu: CpuClass
  readonly memoryMb: number
  readonly timeoutMs: number
}

export interface TaskResult {
  readonly exitCode: number | null
  readonly timedOut: boolean
  readonly tookMs: number
  /** Why it was ended for what it wrote to the disk. */
  readonly overDisk?: string | null
  /** True when this call found a finished run and ran nothing. */
  readonly found: boolean
}

export interface InitFailure {
  readonly number: number
  readonly exitCode: number
}

export type InstanceStatus =
  | {
      readonly state: 'running'
      readonly address: { readonly host: string; readonly port: number }
      readonly startedAt: string
      /** Init commands of the present start that failed and were passed over, counted from 1; left out when there were none. */
      readonly initFailures?: readonly InitFailure[]
    }
  | {
      readonly state: 'exited'
      /** null = not known, e.g. it ended while nobody watched. */
      readonly exitCode: number | null
      readonly signal: string | null
      readonly outOfMemory: boolean
      /** Why it was ended for what it wrote to the disk; what it wrote is gone. */
      readonly overDisk?: string | null
      /** True when `stop` ended it. */
      readonly stopped: boolean
      readonly exitedAt: string | null
    }
  | { readonly state: 'missing' }

export interface InstanceSummary {
  readonly id: InstanceId
  readonly labels: Labels
  readonly status: InstanceStatus
}

export interface StopReport {
  readonly killed: boolean
  readonly tookMs: number
}

export interface InstanceLogLine {
  /** Position after this line; give it back as `after` to continue without loss. Grows over restarts of the instance. */
  readonly offset: number
  readonly at: string
  readonly text: string
}

export interface InstanceLogOptions {
  /** Continue after this offset; null = from the start of what is kept. */
  readonly after: number | null
  /** Only the last n lines of what is there, then (with follow) what comes. */
  readonly tail: number | null
  readonly follow: boolean
  readonly signal: AbortSignal
}

export interface CommandOutcome {
  readonly exitCode: number | null
  readonly timedOut: boolean
  /** Last bytes of its output, printable. */
  readonly output: string
}

/** Whether the address of an instance is its own (I15). */
export type EndpointProof =
  /** Whoever answers there is the instance. */
  | { readonly kind: 'own' }
  /** Nobody listens there now. */
  | { readonly kind: 'silent' }
  /** Somebody else listens there; the reason is for people. */
  | { readonly kind: 'foreign'; readonly reason: string }

/**
 * Runs instances. Every call may be made twice: `start` looks up by id before it creates; stopping or removing what is missing succeeds.
 * `fence` grows with every owner: a call with a smaller one than the instance has seen is refused with FENCED (I6).
 * Instances outlive the server process and are found again by `list`, by label, never by process id alone.
 */
export interface Runtime {
  readonly name: string
  readonly capabilities: RuntimeCapabilities
  check(signal: AbortSignal): Promise<RuntimeHealth>
  /** Returns once the start command runs; readiness is the caller's matter. A stopped or exited instance of that id is started again. */
  start(spec: InstanceSpec, fence: number, signal: AbortSignal): Promise<InstanceStatus>
  inspect(id: InstanceId): Promise<InstanceStatus>
  /** Stops but keeps it (standby). Returns when nothing of it runs any more. */
  stop(id: InstanceId, options: { readonly timeoutMs: number }, fence: number): Promise<StopReport>
  remove(id: InstanceId, fence: number): Promise<void>
  /** All that carries this engine's labels, running or not. */
  list(): Promise<readonly InstanceSummary[]>
  /** Resolves when the instance leaves the state `running`. */
  waitForExit(id: InstanceId, signal: AbortSignal): Promise<InstanceStatus>
  logs(id: InstanceId, options: InstanceLogOptions): AsyncIterable<InstanceLogLine>
  /** Runs a command beside the instance, in its file system and environment. */
  exec(id: InstanceId, command: string, options: { readonly timeoutMs: number; readonly signal: AbortSignal }): Promise<CommandOutcome>
  /**
   * Sentences for people about what is odd with a running instance, e.g. "listens on 127.0.0.1:4000, not on the PORT 31245 that it was given".
   * Empty when nothing is odd or nothing can be said.
   */
  diagnose(id: InstanceId): Promise<readonly string[]>
  /** Proves that nobody but the instance gets what is sent to its address. Cheap: asked at every probe, and again while it serves. */
  proveEndpoint(id: InstanceId): Promise<EndpointProof>
  /**
   * `signal` ends the task: nothing of it runs when this rejects. `letGo` only ends the waiting: the task goes on, and the next call with
   * its id takes it up or finds its result. That is how a server stops without cutting a migration in two.
   */
  runTask(spec: TaskSpec, onLine: (line: string) => void, fence: number, signal: AbortSignal, letGo?: AbortSignal): Promise<TaskResult>
  /** Removes what a task left, its recorded result too. */
  removeTask(id: string, fence: number): Promise<void>
  /** Everything of it that writes to a disk of this host or keeps what it wrote there; left out where the disk is not this host's. */
  diskWriters?(): Promise<readonly DiskWriter[]>
}
