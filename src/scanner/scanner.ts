import type { Artifact, ScanVerdict } from '../domain/deployment.ts'
import type { ScanConfig } from '../domain/service-config.ts'

export interface ScanRequest {
  readonly artifact: Artifact
  readonly artifactDirectory: string | null
  readonly config: ScanConfig
  readonly onLine: (line: string) => void
  readonly signal: AbortSignal
}

export interface Scanner {
  readonly name: string
  check(signal: AbortSignal): Promise<{ readonly ok: boolean; readonly summary: string }>
  /** Never throws for an absent or failing scanner: that is a verdict, by `config.onScannerFailure`. */
  scan(request: ScanRequest): Promise<ScanVerdict>
}
