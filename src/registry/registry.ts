import type { Artifact } from '../domain/deployment.ts'

export interface PublishRequest {
  readonly artifact: Artifact
  /** `<project>/<service>`. */
  readonly repository: string
  readonly onLine: (line: string) => void
  readonly signal: AbortSignal
}

export interface Registry {
  readonly name: string
  /** Pushes by digest and reads it back; publishing twice is success. `reference` null = kept local, `note` says so. */
  publish(request: PublishRequest): Promise<{ readonly reference: string | null; readonly note: string }>
}
