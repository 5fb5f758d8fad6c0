import type { Readable } from 'node:stream'
import type { Garbage, GarbageRun } from '../contract/garbage.ts'
import type { RollbackDifference } from '../contract/rollback.ts'
import type { SealingKeys } from '../contract/secret.ts'
import type { Finding } from '../contract/server.ts'
import type { Clock } from '../core/clock.ts'
import type { ShiplockError } from '../core/errors.ts'
import type { Logger } from '../core/log.ts'
import type { Source } from '../domain/deployment.ts'
import type { Digest, InstanceId, ServiceEnvironmentId } from '../domain/ids.ts'
import type { WebhookEvent } from '../domain/push.ts'
import type { Release } from '../domain/release.ts'
import type { Notice } from '../store/channels.ts'
import type { Database } from '../store/database.ts'
import type { ServiceEnvironment } from '../store/sql/catalog.ts'
import type { WebhookProviderName } from '../store/sql/webhooks.ts'
import type { UploadBudget } from './upload-budget.ts'

/** What arrives on the NOTIFY channel. `null` = some may have been missed: look at the tables. */
export interface NoticeSource {
  /** Returns what ends the subscription. */
  subscribe(listener: (notice: Notice | null) => void): () => void
}

export interface CacheUse {
  readonly serviceEnvironmentId: ServiceEnvironmentId
  readonly layer: 'base' | 'build' | 'tools' | 'run'
  readonly bytes: number
  readonly madeAt: string
  readonly usedAt: string
}

/** One line of an instance's output, as `Runtime.logs` gives it. */
export interface InstanceOutput {
  readonly offset: number
  readonly at: string
  readonly text: string
}

export interface InstanceOutputOptions {
  readonly after: number | null
  readonly tail: number | null
  readonly follow: boolean
  readonly signal: AbortSignal
}

/** Seals values for the database; opens none of them for anybody. */
export interface Secrets {
  seal(value: string): Uint8Array
  /** What may be told of a sealed value; null = it can't be opened. Fingerprints are equal for equal values of one purpose. */
  describe(sealed: Uint8Array, purpose: string): { readonly fingerprint: string; readonly isRecognisable: boolean } | null
  readonly keys: {
    report(): Promise<SealingKeys>
    /** Begins a rotation. Throws CONFLICT. */
    rotate(): Promise<void>
  }
}

/** One request of a git host, as its provider reads it. */
export type HookReading =
  | { readonly kind: 'refused'; readonly code: string; readonly reason: string }
  /** It was the host, and the body is not what it should be. `secret` above 0: one that is being replaced. */
  | { readonly kind: 'unreadable'; readonly error: ShiplockError; readonly identity: HookIdentity; readonly secret: number }
  | { readonly kind: 'read'; readonly event: WebhookEvent; readonly identity: HookIdentity; readonly secret: number }

interface HookIdentity {
  readonly id: string
  readonly event: string
  readonly bodyDigest: string
}

export interface HookRequest {
  readonly headers: Readonly<Record<string, readonly string[] | undefined>>
  /** The bytes as they came. */
  readonly rawBody: Buffer
  /** The current one first. */
  readonly secrets: readonly string[]
}

/** All that the API needs from the rest of the server; `main.ts` supplies it. */
export interface ApiDependencies {
  readonly database: Database
  readonly notices: NoticeSource
  readonly clock: Clock
  readonly logger: Logger
  readonly version: string
  /** Of this server, in the table of all that share the database. */
  readonly serverId: string
  readonly defaults: { readonly project: string; readonly environment: string }
  /** MAX_CONCURRENT_BUILDS. */
  readonly slots: number
  /** What the runtime can run at this moment. */
  readonly artifactKinds: () => readonly ('tree' | 'image')[]
  /** Host names under which the API may be called, beside `localhost`, `*.localhost` and IP addresses. */
  readonly allowedHosts: readonly string[]
  /** Addresses and networks whose `X-Forwarded-For` is believed. */
  readonly trustedProxies: readonly string[]
  /** Requests of one token, public requests of one address, and refused ones of one address. */
  readonly ratesPerMinute: { readonly perToken: number; readonly anonymous: number; readonly failures: number }
  /** Where people reach a host name of a service. */
  readonly urlOf: (host: string) => string
  /** The host name of a new service and environment. */
  readonly hostFor: (names: { readonly project: string; readonly environment: string; readonly service: string }) => string
  readonly uploads: {
    receive(
      body: AsyncIterable<Uint8Array>,
      options: { readonly signal: AbortSignal },
    ): Promise<{ readonly digest: Digest; readonly bytes: number }>
  }
  /** A path on the server's machine: for its administrators alone. Throws SOURCE_REFUSED. */
  readonly isHostPath: (source: Source) => boolean
  readonly uploadBudget: UploadBudget
  /** Whether something is wrong that the owner of the server should look at, though it answers. */
  readonly isDegraded: () => boolean
  /** Throws SOURCE_REFUSED for what could never be fetched. */
  readonly validateSource: (source: Source) => void
  readonly artifacts: {
    /** The stored tree as tar.gz; null when it is not there. */
    pack(digest: Digest): Promise<Readable | null>
  }
  /** Caches of builds and runtime layers on this server. */
  readonly caches: {
    list(): Promise<readonly CacheUse[]>
    clear(
      id: ServiceEnvironmentId,
      layer: 'base' | 'build' | 'run' | 'all',
    ): Promise<{ readonly bytes: number; readonly runtimeLayers: number }>
  }
  readonly secrets: Secrets
  readonly repositories: {
    /** `host` or `host:port` of a source that is fetched by ssh; null for every other. */
    sshHostOf(source: Source): string | null
    /** What a host shows now, as lines of a known_hosts file. Throws SOURCE_UNREACHABLE. */
    readHostKeys(host: string, signal: AbortSignal): Promise<readonly string[]>
  }
  /** Opens what `secrets.seal` has sealed: the secrets of webhooks. */
  readonly open: (sealed: Uint8Array) => string
  /** Verifies, then parses. Never throws. */
  readonly readHook: (provider: WebhookProviderName, request: HookRequest) => Promise<HookReading>
  /** The headers under which that provider would send the body. */
  readonly signHook: (
    provider: WebhookProviderName,
    delivery: { readonly id: string; readonly event: string; readonly rawBody: Buffer; readonly secret: string },
  ) => Record<string, string>
  /** Where git hosts reach this server; null = nobody said. */
  readonly publicUrl: string | null
  /** Of the listener for webhooks alone; null = they come in where the API listens. */
  readonly hooksPort: number | null
  /** Refuses what this server may not call; throws ADDRESS_REFUSED. */
  readonly assertCallable: (url: string) => void
  /** Sends one now. */
  readonly testNotification: (targetId: string) => Promise<{ readonly sent: boolean; readonly message: string }>
  /** Images, build cache and networks of the container engine of this server. */
  readonly garbage: {
    collect(isDryRun: boolean): Promise<Garbage>
    runs(): Promise<readonly GarbageRun[]>
  }
  readonly instanceLogs: (id: InstanceId, options: InstanceOutputOptions) => AsyncIterable<InstanceOutput>
  /** What would differ between what is live and that release; values of secrets are never in it (I8). */
  readonly explainRollback: (
    target: ServiceEnvironment,
    release: Release,
    variables: 'sealed' | 'current',
  ) => Promise<readonly RollbackDifference[]>
  readonly checks: () => Promise<readonly Finding[]>
}
