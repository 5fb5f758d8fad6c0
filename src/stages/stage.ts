import type { ArtifactStore } from '../artifacts/artifact-store.ts'
import type { Builder } from '../builders/builder.ts'
import type { ImageAssembler } from '../builders/image-assembler.ts'
import type { RuntimeLayers } from '../builders/runtime-layers.ts'
import type { Clock } from '../core/clock.ts'
import type { CrashPoint } from '../core/crash-points.ts'
import { type ErrorCode, ShiplockError } from '../core/errors.ts'
import type { Deployment, DeploymentFacts, Instance, Source } from '../domain/deployment.ts'
import type { StageName } from '../domain/deployment-machine.ts'
import type { EventType } from '../domain/event.ts'
import type { DeploymentId, EnvironmentId, InstanceId } from '../domain/ids.ts'
import type { LogLine } from '../domain/log-line.ts'
import type { Release } from '../domain/release.ts'
import type { ScanBaseline } from '../domain/scan-policy.ts'
import type { ScanReport } from '../domain/scan-report.ts'
import type { BuildConfig, ReadinessCheck, ServiceConfig } from '../domain/service-config.ts'
import type { Edge } from '../edge/edge.ts'
import type { ImageStore } from '../registry/image-store.ts'
import type { Registry } from '../registry/registry.ts'
import type { InstanceSpec, Runtime } from '../runtimes/runtime.ts'
import type { LeakScanner } from '../scanner/leak-scanner.ts'
import type { Scanner } from '../scanner/scanner.ts'
import type { SourceCredentials, SourceFetcher } from '../sources/source.ts'

/** How the configuration of a fetched source is read; `config/` does it, `main.ts` hands it over. */
export interface ConfigReader {
  resolveService(request: {
    readonly directory: string
    readonly serviceName: string
    readonly configPath: string | null
    readonly rootDirectory: string | null
    readonly build?: 'auto' | 'dockerfile' | 'recipe'
  }): Promise<ReadConfig>
  /** For a ready image, which brings no configuration along. */
  resolveImage(request: { readonly serviceName: string; readonly reference: string }): ReadConfig
}

export interface ReadConfig {
  readonly config: ServiceConfig
  readonly origin: string
  readonly detected: readonly string[]
}

/** Whether there is room for another build. */
export interface DiskRoom {
  /** Clears up first where that may help; then why there is no room, null = there is. `deployment`: the one that is about to build. */
  makeRoom(deployment: DeploymentId | null): Promise<string | null>
  /** Why the project of that deployment may keep nothing more, whatever room there is; null = it may. */
  overProject?(deployment: DeploymentId): Promise<string | null>
}

/** Everything outside that a stage may act on. */
export interface Drivers {
  readonly sources: Readonly<Record<Source['kind'], SourceFetcher | null>>
  readonly builders: Readonly<Record<BuildConfig['kind'], Builder | null>>
  readonly artifacts: ArtifactStore
  /** null = instances get nothing beside their artifact. */
  readonly runtimeLayers: RuntimeLayers | null
  /** Makes images of file trees, where the runtime runs images only; null = trees run as they are. */
  readonly assembler: ImageAssembler | null
  readonly scanner: Scanner
  readonly leaks: LeakScanner
  readonly registry: Registry
  /** null = no container engine. */
  readonly images?: ImageStore | null
  /** Ids of images in the engine that caches and runtime layers of recipes name. */
  readonly layerImages?: () => Promise<readonly string[]>
  readonly disk?: DiskRoom
  /** Lets go of the host's users of environments that are no more. */
  readonly retainUsers?: (findLiving: (known: readonly EnvironmentId[]) => Promise<ReadonlySet<EnvironmentId>>) => Promise<void>
  readonly runtime: Runtime
  readonly edge: Edge
  readonly config: ConfigReader
}

/** Directories of one deployment, on this server; made by the engine before fetch, removed when the deployment settles. */
export interface Directories {
  readonly workspace: string
  readonly scratch: string
  /** Shared by all deployments of the service and environment. */
  readonly cache: string
}

/** What a stage knows. It is loaded afresh before each stage; nothing is carried over in memory. */
export interface StageContext {
  readonly deployment: Deployment
  readonly facts: DeploymentFacts
  readonly names: { readonly project: string; readonly environment: string; readonly service: string }
  readonly host: string
  /** Known from publish on, and from the start for a rollback. */
  readonly release: Release | null
  /** Instances of this deployment, all states but removed. */
  readonly instances: readonly Instance[]
  /** Instances of other deployments of this service and environment that still exist. */
  readonly others: readonly Instance[]
  /** Grows with every stage entered; every driver call carries it. */
  readonly fence: number
  /** Aborted with a StageAbort on cancel, time-out, lost lease or server stop. */
  readonly signal: AbortSignal
  readonly drivers: Drivers
  readonly clock: Clock
  readonly directories: Directories
  /** The variables of an instance, SHIPLOCK_* included: as sealed with the release, or resolved now. Throws VARIABLE_UNRESOLVED. */
  variables(): Promise<Readonly<Record<string, string>>>
  /** What a build sees: the project's, environment's and service's variables, without run.env and without what differs per deployment. */
  buildVariables(): Promise<Readonly<Record<string, string>>>
  /** The project's own secrets that reach this service, by the names that they may be told by. */
  secrets(): Promise<readonly { readonly name: string; readonly value: string }[]>
  /** What may open a private repository. */
  credentials(): Promise<SourceCredentials>
  /** The newest kept release of this service and environment with that build key. */
  findRelease(buildKey: string): Promise<Release | null>
  /** The newest stored scan of that subject (`scanSubject`) in this project, and the deployment that made it. */
  findScan(subject: string): Promise<{ readonly report: ScanReport; readonly deploymentId: DeploymentId } | null>
  /** What is known of the artifact that serves now, and the deployment under which that report is kept. */
  findLiveScan(): Promise<{ readonly baseline: ScanBaseline; readonly report: DeploymentId | null }>
  /** Everything the runtime needs to start that instance: its own release's artifact, config and variables. */
  specOf(instance: Instance): Promise<InstanceSpec>
  /** The readiness check of that instance's own release; a deployment's check may be what is wrong with it. */
  readinessOf(instance: Instance): Promise<ReadinessCheck>
  /** ms since the swap, by the database's clock; 0 before it. */
  sinceSwapMs(): number
  log(stream: LogLine['stream'], text: string, source?: string): void
  crashPoint(point: CrashPoint): void
}

export interface StageEvent {
  readonly type: EventType
  readonly message: string
  readonly instanceId: InstanceId | null
  readonly data: Readonly<Record<string, unknown>>
}

/** What a stage found or did. The engine writes it down, in one transaction with its events and the next step. */
export interface StageOutcome {
  readonly kind: 'done' | 'skipped' | 'trouble'
  /** Why it was skipped, or one sentence on what was done. With `trouble`: what went wrong while baking. */
  readonly reason: string
  readonly facts?: Partial<DeploymentFacts>
  /** Rows that changed. */
  readonly instances?: readonly Instance[]
  readonly events?: readonly StageEvent[]
  /** A report to keep. */
  readonly scan?: { readonly subject: string; readonly report: ScanReport }
}

/** A failure that is written down together with what was found out on the way. */
export class StageRefusal extends ShiplockError {
  readonly leaves: Pick<StageOutcome, 'facts' | 'events' | 'scan'>

  constructor(
    code: ErrorCode,
    message: string,
    options: { details?: Readonly<Record<string, unknown>>; hint?: string },
    leaves: StageRefusal['leaves'],
  ) {
    super(code, message, options)
    this.leaves = leaves
  }
}

/**
 * One step of a deployment. `run` may run again after a crash: look up before creating. Failure is a thrown ShiplockError.
 * `undo` is safe without a prior `run`, and may run twice. It is called, newest stage first, when the deployment ends before the swap.
 */
export interface Stage {
  readonly name: StageName
  run(context: StageContext): Promise<StageOutcome>
  undo?(context: StageContext): Promise<void>
}

export type AbortCause = 'canceled' | 'timeout' | 'fenced' | 'shutdown'

/** The reason that a stage's signal carries. */
export class StageAbort extends Error {
  readonly why: AbortCause

  constructor(why: AbortCause) {
    super(`stage aborted: ${why}`)
    this.name = 'StageAbort'
    this.why = why
  }
}

export function done(reason: string, more: Omit<StageOutcome, 'kind' | 'reason'> = {}): StageOutcome {
  return { kind: 'done', reason, ...more }
}

export function skipped(reason: string, more: Omit<StageOutcome, 'kind' | 'reason'> = {}): StageOutcome {
  return { kind: 'skipped', reason, ...more }
}
