import type { Artifact } from '../domain/deployment.ts'
import type { ScanReport } from '../domain/scan-report.ts'

export interface ScanRequest {
  readonly artifact: Artifact
  /** Directory that holds the tree artifact; null for images. */
  readonly artifactDirectory: string | null
  /** Directory of the runtime layer beside a tree artifact, where there is one. */
  readonly layerDirectory: string | null
  /** For temporary files, whole images among them; made and removed by the scanner. */
  readonly workDirectory: string
  readonly onLine: (line: string) => void
  readonly signal: AbortSignal
}

/** What the server's owner decides about scans. */
export interface ScanRules {
  /** Where a service does not say what an absent or failing scanner means. */
  readonly onFailure: Readonly<Record<Artifact['kind'], 'fail' | 'warn'>>
  /** An identical artifact is not scanned again within this time. */
  readonly reuseMs: number
}

export interface ScannerHealth {
  readonly ok: boolean
  /** One sentence: what is there, or what is missing. */
  readonly summary: string
  readonly hint: string | null
}

export interface Scanner {
  readonly name: string
  readonly rules: ScanRules
  check(signal: AbortSignal): Promise<ScannerHealth>
  /** Why nothing can be scanned here now, e.g. `trivy is not in PATH`; null = it can be tried. Cheap: asked before a long build. */
  missing(): Promise<string | null>
  /** What is in the artifact, without any judgement. Throws SCANNER_FAILED with the reason, and the signal's reason when that aborts. */
  scan(request: ScanRequest): Promise<ScanReport>
  /** Ends and removes what a scan in that work directory left, on this host; nothing there is success. */
  cleanUp(workDirectory: string): Promise<void>
}

/** Without a word from the server's owner: an image nobody looked into is not deployed, a tree of files is, with the fact on record. */
export const DEFAULT_ON_FAILURE: ScanRules['onFailure'] = { image: 'fail', tree: 'warn' }
