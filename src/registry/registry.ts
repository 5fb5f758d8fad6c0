import type { Artifact } from '../domain/deployment.ts'

export interface PublishRequest {
  readonly artifact: Artifact
  /** `<project>/<service>`. */
  readonly repository: string
  readonly onLine: (line: string) => void
  readonly signal: AbortSignal
}

export interface Published {
  /** `registry/prefix/project/service@sha256:…`, what any host can pull; null = kept local, `note` says so. */
  readonly reference: string | null
  readonly note: string
  /** Nothing was sent: the registry had it already. */
  readonly isReused?: boolean
}

export interface Registry {
  readonly name: string
  /** Pushes by digest and reads it back; publishing twice is success. @throws PUBLISH_FAILED */
  publish(request: PublishRequest): Promise<Published>
  /** One sentence for `doctor`; null = nothing to say. */
  check?(signal: AbortSignal): Promise<{ readonly ok: boolean; readonly summary: string }>
}
