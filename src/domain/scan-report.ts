import type { Artifact } from './deployment.ts'

/** Worst first. */
export const SEVERITIES = ['critical', 'high', 'medium', 'low', 'unknown'] as const
export type Severity = (typeof SEVERITIES)[number]
export type SeverityCounts = Readonly<Record<Severity, number>>

export interface ScanFinding {
  /** CVE-…, GHSA-… */
  readonly id: string
  readonly package: string
  readonly installed: string
  /** Versions in which it is fixed, as the scanner writes them; null = none yet. */
  readonly fixed: string | null
  readonly severity: Severity
  /** Where it was found: an operating system, a lock file, a program. */
  readonly target: string
  readonly title: string | null
  readonly url: string | null
}

/** Something in which the scanner recognised packages. */
export interface ScanTarget {
  readonly target: string
  readonly kind: string
  readonly packages: number
}

/** What a scanner found, before any policy. */
export interface ScanReport {
  readonly scanner: string
  readonly version: string | null
  /** When its vulnerability database was made, ISO time. */
  readonly databaseAt: string | null
  readonly scannedAt: string
  /** Empty = nothing was recognised, which is not "clean". */
  readonly targets: readonly ScanTarget[]
  readonly counts: SeverityCounts
  /** Worst first. Counts are of all, this list may be cut at its end. */
  readonly findings: readonly ScanFinding[]
  /** What people should know about the scan itself. */
  readonly notes: readonly string[]
  /** What could not be looked into, and why, a sentence each. Not empty = the report is partial: what it has counts, what it lacks proves nothing. */
  readonly gaps: readonly string[]
}

/** What a report is about: an identical artifact has the same one. */
export function scanSubject(artifact: Artifact): string {
  if (artifact.kind === 'image' || artifact.runtimeLayer === undefined) return artifact.digest
  return `${artifact.digest}+${artifact.runtimeLayer}`
}

/**
 * A report with gaps does not take back what an earlier one of the same content found: whatever either knows stays known. Pure.
 */
export function withEarlierFindings(report: ScanReport, earlier: ScanReport): ScanReport {
  const findings = orderFindings([...report.findings, ...earlier.findings])
  const added = findings.length - report.findings.length
  if (report.gaps.length === 0 || added === 0) return report
  const counted = countSeverities(findings)
  const counts = Object.fromEntries(
    // Counts are of all, also of what was cut from a list.
    SEVERITIES.map((severity) => [severity, Math.max(counted[severity], report.counts[severity], earlier.counts[severity])]),
  ) as unknown as SeverityCounts
  const targets = new Map([...earlier.targets, ...report.targets].map((target) => [`${target.kind} ${target.target}`, target]))
  return {
    ...report,
    findings,
    counts,
    targets: [...targets.values()],
    notes: [...report.notes, `${added} findings are of the scan of ${earlier.scannedAt.slice(0, 10)}: not all was looked into this time`],
  }
}

/** Findings of the same id in the same package are the same to people, whatever its version. */
export function findingKey(finding: Pick<ScanFinding, 'id' | 'package'>): string {
  return `${finding.id} ${finding.package}`
}

export function countSeverities(findings: readonly ScanFinding[]): SeverityCounts {
  const counts = { critical: 0, high: 0, medium: 0, low: 0, unknown: 0 }
  for (const { severity } of findings) counts[severity]++
  return counts
}

/** Worst first, then those that an update fixes, then by name; each id in each package and version once. */
export function orderFindings(findings: readonly ScanFinding[]): ScanFinding[] {
  const distinct = new Map<string, ScanFinding>()
  for (const finding of findings) {
    const key = `${findingKey(finding)} ${finding.installed}`
    const known = distinct.get(key)
    distinct.set(key, known === undefined ? finding : worse(known, finding))
  }
  return [...distinct.values()].sort(
    (a, b) =>
      rank(a) - rank(b) ||
      Number(a.fixed === null) - Number(b.fixed === null) ||
      compare(a.package, b.package) ||
      compare(a.id, b.id) ||
      compare(a.installed, b.installed),
  )
}

/** Two words about one finding: the worse severity counts, and a fix that only one of them knows is a fix. */
function worse(known: ScanFinding, other: ScanFinding): ScanFinding {
  const [first, second] = rank(other) < rank(known) ? [other, known] : [known, other]
  return first.fixed === null ? { ...first, fixed: second.fixed } : first
}

function rank(finding: ScanFinding): number {
  return SEVERITIES.indexOf(finding.severity)
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
