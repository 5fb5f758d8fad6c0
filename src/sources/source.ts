import type { Revision, Source } from '../domain/deployment.ts'
import type { EnvironmentId, ProjectId } from '../domain/ids.ts'

/** What may open a private repository. Secrets, for one fetch. */
export interface SourceCredentials {
  /** For ssh. With one, only host keys that are listed (or published by the host) are believed. */
  readonly deployKey: {
    readonly privateKey: string
    readonly fingerprint: string
    /** Lines of a known_hosts file. */
    readonly hostKeys: readonly string[]
  } | null
  /** For https; each is sent to its own `host` or `host:port` only. */
  readonly tokens: readonly { readonly host: string; readonly username: string; readonly token: string }[]
}

export interface FetchRequest {
  readonly source: Source
  /** Of a push: that commit, if it is still on the branch or tag that the source names; otherwise its tip. */
  readonly commit?: string | null
  /** No tip in place of the commit: what the ref does not hold is refused with REF_NOT_FOUND. */
  readonly isExact?: boolean
  /** Absolute path of a directory that does not exist yet; its parent does. */
  readonly directory: string
  /** Left out = none. */
  readonly credentials?: SourceCredentials
  /** Whose source it is, for what only the project may reach. */
  readonly scope?: {
    readonly projectId: ProjectId
    readonly environmentId: EnvironmentId
    readonly project: string
    readonly variables: () => Promise<Readonly<Record<string, string>>>
  }
  readonly onLine: (line: string) => void
  readonly signal: AbortSignal
}

export interface HeadsRequest {
  readonly source: Source
  /** Whose repository it is; left out = nobody's. */
  readonly projectId?: ProjectId
  /** Left out = none. */
  readonly credentials?: SourceCredentials
  /** Names without `refs/heads/`. */
  readonly branches: readonly string[]
  readonly signal: AbortSignal
}

/** Branches of a repository as they are now. */
export interface RemoteHeads {
  /** Null: the repository does not say. */
  readonly defaultBranch: string | null
  /** Commit of the default branch and of each that was asked for, as far as they exist; by names without `refs/heads/`. */
  readonly branches: ReadonlyMap<string, string>
}

/** Brings the exact source into a fresh directory. A rerun starts from an empty one. Throws SOURCE_*, REF_NOT_FOUND, UPLOAD_REFUSED, IMAGE_*. */
export interface SourceFetcher {
  readonly kind: Source['kind']
  /** Refuses what could never be fetched or is meant as an option, before anything is queued. */
  validate(source: Source): void
  fetch(request: FetchRequest): Promise<Revision>
  /** Of git. Throws SOURCE_*. */
  readHeads?(request: HeadsRequest): Promise<RemoteHeads>
}
