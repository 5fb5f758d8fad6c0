import { findingKey, type ScanFinding, type ScanReport, type SeverityCounts } from './scan-report.ts'
import type { FindingPolicy, ScanConfig } from './service-config.ts'

/** What `block-new` compares with: the stored scan of the release that is live. */
export type ScanBaseline =
  | { readonly kind: 'nothing-live' }
  /** `name` of the live release, e.g. `v3`. */
  | { readonly kind: 'not-scanned'; readonly name: string }
  | { readonly kind: 'scanned'; readonly name: string; readonly findings: readonly Pick<ScanFinding, 'id' | 'package'>[] }

/**
 * What policy makes of a finding. `known`: critical or high, but live has it too; `waived` and `unfixed` were taken out by the service's
 * configuration; `counted` has a severity for which there is no policy.
 */
export type FindingState = 'blocks' | 'warns' | 'known' | 'waived' | 'unfixed' | 'ignored' | 'counted'

export interface Waiver {
  readonly id: string
  readonly reason: string
  /** Last day on which it holds, in UTC; null = no end. */
  readonly expires: string | null
}

export interface JudgedFinding extends ScanFinding {
  readonly state: FindingState
  /** The waiver that names it, valid or not. */
  readonly waiver: (Waiver & { readonly isExpired: boolean }) | null
}

export interface ScanJudgement {
  /** `partial`: what was found does not block, and not all was looked into. */
  readonly outcome: 'passed' | 'warned' | 'partial' | 'blocked' | 'unknown'
  /** One sentence for people. */
  readonly note: string
  readonly findings: readonly JudgedFinding[]
  readonly blocking: readonly JudgedFinding[]
  /** Waivers that name a finding of this report and hold no longer. */
  readonly expired: readonly Waiver[]
  /** Lines for the deployment. */
  readonly warnings: readonly string[]
}

const NAMED = 3

/** What a service's policy makes of a report at `now` (ms). Pure: the same report may be judged again under another policy or day. */
export function judgeScan(
  report: ScanReport,
  config: Pick<ScanConfig, 'high' | 'critical' | 'ignoreUnfixed' | 'waivers'>,
  baseline: ScanBaseline,
  now: number,
): ScanJudgement {
  const today = new Date(now).toISOString().slice(0, 10)
  const known = new Set(baseline.kind === 'scanned' ? baseline.findings.map(findingKey) : [])
  const findings = report.findings.map((finding): JudgedFinding => {
    const waiver = waiverOf(finding, config.waivers, today)
    return { ...finding, waiver, state: stateOf(finding, waiver, config, known) }
  })
  const blocking = findings.filter(({ state }) => state === 'blocks')
  const warning = findings.filter(({ state }) => state === 'warns' || state === 'known')
  const expired = config.waivers.filter(
    (waiver) => isExpired(waiver, today) && findings.some((finding) => finding.waiver?.isExpired === true && names(waiver, finding)),
  )
  const isUnrecognised = report.targets.length === 0 && findings.length === 0
  const outcome = outcomeOf({
    blocks: blocking.length > 0,
    hasGaps: report.gaps.length > 0,
    isUnrecognised,
    warns: warning.length + expired.length > 0,
  })
  const warnings = [
    ...(warning.length > 0 ? [`scan: ${bySeverity(warning)}: ${namesOf(warning)}`] : []),
    ...expired.map((waiver) => `scan: the waiver of ${waiver.id} expired after ${waiver.expires} (${waiver.reason})`),
    ...(comparesWithLive(config, findings) ? baselineWarning(baseline) : []),
    ...(isUnrecognised && report.gaps.length === 0 ? [`scan: ${UNRECOGNISED}`] : []),
    ...report.gaps.map((gap) => `scan: partial: ${gap}`),
    ...report.notes.map((note) => `scan: ${note}`),
  ]
  return { outcome, note: noteOf(outcome, report, findings, blocking), findings, blocking, expired, warnings }
}

const UNRECOGNISED =
  'nothing recognised: the scanner knows no package manager, lock file or program in it, which does not mean that it is clean'

function stateOf(
  finding: ScanFinding,
  waiver: JudgedFinding['waiver'],
  config: Pick<ScanConfig, 'high' | 'critical' | 'ignoreUnfixed'>,
  known: ReadonlySet<string>,
): FindingState {
  if (waiver !== null && !waiver.isExpired) return 'waived'
  if (config.ignoreUnfixed && finding.fixed === null) return 'unfixed'
  const policy = policyOf(finding, config)
  if (policy === null) return 'counted'
  if (policy === 'ignore') return 'ignored'
  if (policy === 'warn') return 'warns'
  return policy === 'block-new' && known.has(findingKey(finding)) ? 'known' : 'blocks'
}

function policyOf({ severity }: ScanFinding, config: Pick<ScanConfig, 'high' | 'critical'>): FindingPolicy | null {
  if (severity === 'critical') return config.critical
  return severity === 'high' ? config.high : null
}

/** What is known blocks whatever else is not; only a whole look may be called passed or warned. */
function outcomeOf(facts: {
  readonly blocks: boolean
  readonly hasGaps: boolean
  readonly isUnrecognised: boolean
  readonly warns: boolean
}): ScanJudgement['outcome'] {
  if (facts.blocks) return 'blocked'
  if (facts.hasGaps) return 'partial'
  if (facts.isUnrecognised) return 'unknown'
  return facts.warns ? 'warned' : 'passed'
}

/** A valid waiver wins over an expired one of the same id. */
function waiverOf(finding: ScanFinding, waivers: readonly Waiver[], today: string): JudgedFinding['waiver'] {
  const own = waivers.filter((waiver) => names(waiver, finding)).map((waiver) => ({ ...waiver, isExpired: isExpired(waiver, today) }))
  return own.find((waiver) => !waiver.isExpired) ?? own[0] ?? null
}

function names(waiver: Waiver, finding: ScanFinding): boolean {
  return waiver.id.toUpperCase() === finding.id.toUpperCase()
}

function isExpired({ expires }: Waiver, today: string): boolean {
  return expires !== null && expires < today
}

function comparesWithLive(config: Pick<ScanConfig, 'high' | 'critical'>, findings: readonly JudgedFinding[]): boolean {
  return findings.some((finding) => (finding.state === 'blocks' || finding.state === 'known') && policyOf(finding, config) === 'block-new')
}

function baselineWarning(baseline: ScanBaseline): string[] {
  if (baseline.kind === 'scanned') return []
  const why = baseline.kind === 'nothing-live' ? 'nothing is live' : `${baseline.name}, which is live, has no stored scan`
  return [`scan: block-new: ${why}, so every finding counts as new`]
}

function noteOf(
  outcome: ScanJudgement['outcome'],
  { counts, gaps }: Pick<ScanReport, 'counts' | 'gaps'>,
  findings: readonly JudgedFinding[],
  blocking: readonly JudgedFinding[],
): string {
  const missing = gaps.length === 0 ? '' : `; not all was looked into: ${gaps.join('; ')}`
  if (outcome === 'blocked') return `blocked by ${bySeverity(blocking)}: ${namesOf(blocking)}${missing}`
  if (outcome === 'unknown') return UNRECOGNISED
  const waived = findings.filter(({ state }) => state === 'waived').length
  const found = countsInWords(counts)
  // "No known vulnerability" would be more than a look at a part can say.
  const what = gaps.length > 0 && findings.length === 0 ? 'nothing found in what was looked into' : found
  return `${what}${waived === 0 ? '' : `, ${waived} waived`}${missing}`
}

/** `2 critical, 1 high, 4 medium`; `no known vulnerability`. */
export function countsInWords(counts: SeverityCounts): string {
  const parts = Object.entries(counts).filter(([, count]) => count > 0)
  return parts.length === 0 ? 'no known vulnerability' : parts.map(([severity, count]) => `${count} ${severity}`).join(', ')
}

function bySeverity(findings: readonly ScanFinding[]): string {
  const parts = (['critical', 'high'] as const).flatMap((severity) => {
    const count = findings.filter((finding) => finding.severity === severity).length
    return count === 0 ? [] : [`${count} ${severity.toUpperCase()}`]
  })
  return parts.join(' and ')
}

/** The worst few, with what fixes them. */
function namesOf(findings: readonly ScanFinding[]): string {
  const named = findings.slice(0, NAMED).map(({ id, package: name, installed, fixed }) => {
    const fix = fixed === null ? 'no fix yet' : `fixed in ${fixed}`
    return `${id} in ${name} ${installed} (${fix})`
  })
  const more = findings.length - named.length
  return `${named.join(', ')}${more > 0 ? ` and ${more} more` : ''}`
}

/** What the owner can do about what blocks. */
export function blockedHint(blocking: readonly ScanFinding[]): string {
  const fixes = new Map(blocking.flatMap(({ package: name, fixed }) => (fixed === null ? [] : [[name, fixed] as const])))
  const updates = [...fixes].slice(0, NAMED).map(([name, fixed]) => `${name} to ${fixed}`)
  const more = fixes.size - updates.length
  const update = updates.length === 0 ? '' : `Update ${updates.join(', ')}${more > 0 ? ` and ${more} more` : ''}, or accept it`
  const id = blocking[0]?.id ?? 'CVE-…'
  return `${update === '' ? 'No update fixes it yet; accept it' : update} for a time: scan: { waivers: [{ id: ${id}, reason: "…", expires: YYYY-MM-DD }] }. \`shiplock scan\` lists all.`
}

/** What the log of a rollback says about the release that is gone back to; null = nothing worth a look. A rollback is never blocked. */
export function rollbackWarning(
  name: string,
  report: ScanReport,
  config: Pick<ScanConfig, 'ignoreUnfixed' | 'waivers'>,
  now: number,
): string | null {
  const { blocking } = judgeScan(report, { ...config, critical: 'block', high: 'ignore' }, { kind: 'nothing-live' }, now)
  if (blocking.length === 0) return null
  return `scan: ${name}, to which this goes back, has ${bySeverity(blocking)}: ${namesOf(blocking)}; a rollback is allowed all the same`
}
