/**
 * The one resolved form of a service's configuration: complete, frozen, units in the names.
 * Every dialect (shiplock.yaml, zerops.yml, ezforge.toml, detection) is parsed into this by `config/`; nothing below sees another form.
 */
export interface ServiceConfig {
  readonly name: string
  readonly build: BuildConfig
  readonly scan: ScanConfig
  readonly run: RunConfig
  readonly deploy: DeployConfig
  /** Releases kept besides the live one. */
  readonly retention: number
  readonly trigger: TriggerConfig
}

export type BuildConfig = RecipeBuild | DockerfileBuild | ImageBuild

export interface RecipeBuild {
  readonly kind: 'recipe'
  /** Toolchains, e.g. `['nodejs@22']`; empty = whatever the host gives. */
  readonly base: readonly string[]
  readonly os: string | null
  /** Each item runs in a shell of its own; an item with several lines is one shell. */
  readonly prepareCommands: readonly string[]
  readonly buildCommands: readonly string[]
  /** Patterns; a path keeps its directories, `~` cuts there. */
  readonly deployFiles: readonly string[]
  readonly cache: readonly string[]
  readonly addToRunPrepare: readonly string[]
  readonly env: Readonly<Record<string, string>>
  readonly timeoutMs: number
}

export interface DockerfileBuild {
  readonly kind: 'dockerfile'
  readonly dockerfile: string
  readonly context: string
  readonly target: string | null
  readonly args: Readonly<Record<string, string>>
  /** Names of secrets given to BuildKit as secret mounts. */
  readonly secrets: readonly string[]
  readonly platform: string | null
  readonly timeoutMs: number
}

export interface ImageBuild {
  readonly kind: 'image'
  readonly reference: string
}

export type FindingPolicy = 'ignore' | 'warn' | 'block' | 'block-new'

export interface ScanConfig {
  readonly enabled: boolean
  readonly high: FindingPolicy
  readonly critical: FindingPolicy
  readonly ignoreUnfixed: boolean
  readonly waivers: readonly { readonly id: string; readonly reason: string; readonly expires: string | null }[]
  /** What an absent or failing scanner means; null = what the server says, and without a word from it: fail for images, warn for file trees. */
  readonly onScannerFailure: 'fail' | 'warn' | null
  /** What it means that a secret of the project stands in the artifact. */
  readonly secrets: 'block' | 'warn' | 'off'
}

export type CpuClass = 'shared-1x' | 'shared-2x' | 'performance-1x'

/** How a static site answers, besides with its files. */
export interface SiteConfig {
  /** Paths of no file show 200.html or index.html, for apps that have their router in the browser. */
  readonly singlePage: boolean
  readonly redirects: readonly { readonly from: string; readonly to: string; readonly status: number; readonly force: boolean }[]
  readonly headers: readonly { readonly for: string; readonly values: Readonly<Record<string, string>> }[]
}

export interface RunConfig {
  readonly base: string | null
  readonly os: string | null
  readonly prepareCommands: readonly string[]
  readonly initCommands: readonly string[]
  readonly initFailure: 'continue' | 'fail'
  /** Shell commands, run side by side in one instance; empty = the image's own command. */
  readonly startCommands: readonly string[]
  /** Serve this directory of the artifact as a static site instead of running a command. */
  readonly staticRoot: string | null
  /** Left out by earlier versions: nothing but the files. */
  readonly site?: SiteConfig
  /** The port that the app listens on inside its own network; null = the one given in PORT. */
  readonly port: number | null
  readonly instances: number
  readonly cpu: CpuClass
  readonly memoryMb: number
  /** null, and left out by earlier versions = as much as the server lets one have. */
  readonly diskMb?: number | null
  readonly regions: readonly string[]
  readonly env: Readonly<Record<string, string>>
  readonly healthCheck: HealthCheck | null
  /** Name of an OCI runtime (gVisor, Kata) for container drivers. */
  readonly ociRuntime: string | null
}

export interface HttpProbe {
  readonly kind: 'httpGet'
  readonly path: string
  /** null = the instance's port. */
  readonly port: number | null
  readonly host: string | null
  readonly scheme: 'http' | 'https'
  /** null = any 2xx. */
  readonly expectStatus: number | null
}
export interface ExecProbe {
  readonly kind: 'exec'
  readonly command: string
}
export interface TcpProbe {
  readonly kind: 'tcp'
  readonly port: number | null
}
export type Probe = HttpProbe | ExecProbe | TcpProbe

export interface ReadinessCheck {
  readonly probe: Probe
  readonly retryPeriodMs: number
  readonly failureTimeoutMs: number
  readonly attemptTimeoutMs: number
  /** Instances tried per copy before the deployment fails. */
  readonly attempts: number
}

export interface HealthCheck {
  readonly probe: Probe
  readonly periodMs: number
  readonly attemptTimeoutMs: number
  /** Failing this long: leave the edge. */
  readonly disconnectTimeoutMs: number
  /** Failing this long: restart. */
  readonly failureTimeoutMs: number
  /** Passing this long: return to the edge. */
  readonly recoveryTimeoutMs: number
}

export interface DeployConfig {
  readonly releaseCommand: string | null
  readonly releaseCommandTimeoutMs: number
  readonly temporaryShutdown: boolean
  readonly readinessCheck: ReadinessCheck
  readonly drainTimeoutMs: number
  readonly bakeMs: number
  readonly autoRollback: boolean
  readonly standbyMs: number
  /** SIGTERM to SIGKILL. */
  readonly stopTimeoutMs: number
}

export interface TriggerConfig {
  readonly branch: string | null
  /** Pushed tags that match this pattern deploy; null = none do. */
  readonly tags: string | null
  readonly watch: readonly string[]
  readonly queue: 'every' | 'latest'
}
