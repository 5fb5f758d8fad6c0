import type { Revision, Source } from '../domain/deployment.ts'

export interface FetchRequest {
  readonly source: Source
  /** Absolute path of a directory that does not exist yet; its parent does. */
  readonly directory: string
  readonly onLine: (line: string) => void
  readonly signal: AbortSignal
}

/** Brings the exact source into a fresh directory. A rerun starts from an empty one. Throws SOURCE_*, REF_NOT_FOUND, UPLOAD_REFUSED. */
export interface SourceFetcher {
  readonly kind: Source['kind']
  /** Refuses what could never be fetched or is meant as an option, before anything is queued. */
  validate(source: Source): void
  fetch(request: FetchRequest): Promise<Revision>
}
