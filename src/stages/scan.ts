import { join } from 'node:path'
import { isShiplockError, type ShiplockError } from '../core/errors.ts'
import type { Artifact, ScanVerdict } from '../domain/deployment.ts'
import { blockedHint, countsInWords, judgeScan, type ScanJudgement } from '../domain/scan-policy.ts'
import { type ScanReport, type SeverityCounts, scanSubject, withEarlierFindings } from '../domain/scan-report.ts'
import { artifactDirectoryOf, artifactOf, runtimeSupportOf } from './artifact.ts'
import { configOf } from './build.ts'
import { failurePolicy, withoutScan } from './scan-required.ts'
import { lookForSecrets, withSecrets } from './secret-check.ts'
import { done, type Stage, type StageContext, type StageEvent, type StageOutcome, StageRefusal, skipped } from './stage.ts'

/**
 * Vulnerability scan of the final artifact. HIGH warns, CRITICAL blocks (by policy); what is live keeps serving. An identical artifact is
 * judged by the report that there is, while that is young enough: policy, waivers and their ends are applied afresh every time.
 */
export const scan: Stage = {
  name: 'scan',

  async run(context) {
    const leaks = await lookForSecrets(context)
    return withSecrets(await scanForVulnerabilities(context), leaks)
  },

  async undo(context) {
    await context.drivers.scanner.cleanUp(workDirectoryOf(context))
  },
}

async function scanForVulnerabilities(context: StageContext): Promise<StageOutcome> {
  if (!configOf(context).scan.enabled) return notScanned('skipped', 'scan: off')
  const subject = scanSubject(artifactOf(context))
  const stored = await context.findScan(subject)
  const age = stored === null ? Number.POSITIVE_INFINITY : context.clock.now() - Date.parse(stored.report.scannedAt)
  // One with gaps is no reason not to look again.
  if (stored !== null && stored.report.gaps.length === 0 && age <= context.drivers.scanner.rules.reuseMs) {
    context.log('engine', `identical to what was scanned ${stored.report.scannedAt.slice(0, 16)}Z: not scanned again`, 'scan')
    return judge(context, stored.report, { report: stored.deploymentId })
  }
  let report: ScanReport
  try {
    report = await context.drivers.scanner.scan(await requestOf(context))
  } catch (error) {
    if (!isShiplockError(error, 'SCANNER_FAILED')) throw error
    if (stored === null) return afterFailure(context, error)
    // Nobody could look today; what was found when somebody did is no less true.
    report = {
      ...stored.report,
      gaps: [...stored.report.gaps, `today ${firstLine(error)}; this is the scan of ${stored.report.scannedAt.slice(0, 10)}`],
    }
    return judge(context, report, { report: stored.deploymentId }, error)
  }
  const whole = stored === null ? report : withEarlierFindings(report, stored.report)
  return judge(context, whole, { report: context.deployment.id, subject })
}

function workDirectoryOf({ directories }: StageContext): string {
  return join(directories.scratch, 'scan')
}

async function requestOf(context: StageContext) {
  const artifact = artifactOf(context)
  const { support } = await runtimeSupportOf(context.drivers, context.deployment.serviceEnvironmentId, artifact, configOf(context))
  return {
    artifact,
    artifactDirectory: await artifactDirectoryOf(context.drivers, artifact),
    layerDirectory: support?.layer?.directory ?? null,
    workDirectory: workDirectoryOf(context),
    onLine: (line: string) => context.log('engine', line, 'scan'),
    signal: context.signal,
  }
}

async function judge(
  context: StageContext,
  report: ScanReport,
  source: { readonly report: StageContext['deployment']['id']; readonly subject?: string },
  failure?: ShiplockError,
): Promise<StageOutcome> {
  const live = await context.findLiveScan()
  const judgement = judgeScan(report, configOf(context).scan, live.baseline, context.clock.now())
  const isNew = source.subject !== undefined
  const verdict: ScanVerdict = {
    ...verdictOf(judgement.outcome, judgement.note, report.counts),
    report: source.report,
    baseline: live.report === null || live.baseline.kind !== 'scanned' ? null : { name: live.baseline.name, report: live.report },
  }
  logFindings(context, judgement)
  const leaves = {
    facts: { scan: verdict, warnings: judgement.warnings },
    ...(source.subject === undefined ? {} : { scan: { subject: source.subject, report } }),
    events: eventsOf(judgement, report, isNew),
  }
  if (judgement.outcome === 'blocked') {
    throw new StageRefusal('SCAN_BLOCKED', judgement.note, { hint: blockedHint(judgement.blocking), details: { ...report.counts } }, leaves)
  }
  if (judgement.outcome === 'partial') refuseGaps(context, report, leaves, failure)
  return isNew ? done(judgement.note, leaves) : skipped(`identical to what was scanned before: ${judgement.note}`, leaves)
}

/** Where a scan that failed ends the deployment, half of one does too; what the other half found is kept. */
function refuseGaps(context: StageContext, report: ScanReport, leaves: StageRefusal['leaves'], failure?: ShiplockError): void {
  const kind = builtKind(artifactOf(context))
  if (failurePolicy(context, kind) === 'warn') return
  const { message, hint, details } = withoutScan(context, kind, report.gaps.join('; '), failure)
  throw new StageRefusal('SCANNER_FAILED', message, { hint, details }, leaves)
}

function verdictOf(
  outcome: ScanVerdict['outcome'],
  note: string,
  { critical, high, medium, low }: Omit<SeverityCounts, 'unknown'>,
): ScanVerdict {
  return { outcome, note, critical, high, medium, low }
}

function notScanned(outcome: 'skipped' | 'unknown', note: string, warnings: readonly string[] = []): StageOutcome {
  return skipped(note, { facts: { scan: verdictOf(outcome, note, NO_FINDINGS), warnings } })
}
const NO_FINDINGS = { critical: 0, high: 0, medium: 0, low: 0 } as const

/** What blocks or warns, in full; the rest is in the report. */
function logFindings(context: StageContext, judgement: ScanJudgement): void {
  for (const finding of judgement.findings) {
    if (finding.state === 'counted' || finding.state === 'ignored') continue
    const fix = finding.fixed === null ? 'no fix yet' : `fixed in ${finding.fixed}`
    const waiver = finding.waiver === null ? '' : finding.waiver.isExpired ? ', its waiver expired' : `, waived: ${finding.waiver.reason}`
    const text = `${finding.severity.toUpperCase()} ${finding.id} ${finding.package} ${finding.installed} (${fix}) in ${finding.target}: ${finding.state}${waiver}`
    context.log('engine', text, 'scan')
  }
}

function eventsOf(judgement: ScanJudgement, report: ScanReport, isNew: boolean): StageEvent[] {
  const data = {
    ...report.counts,
    outcome: judgement.outcome,
    scanner: report.scanner,
    version: report.version,
    databaseAt: report.databaseAt,
    gaps: report.gaps,
  }
  const found = `${isNew ? 'scanned' : 'as scanned before'}: ${countsInWords(report.counts)}`
  const blocking = judgement.blocking.slice(0, EVENT_FINDINGS).map(({ id, package: name, fixed }) => ({ id, package: name, fixed }))
  return [
    {
      type: 'scan.finished',
      message: judgement.outcome === 'unknown' || judgement.outcome === 'partial' ? judgement.note : found,
      instanceId: null,
      data,
    },
    ...judgement.expired.map((waiver) => ({
      type: 'scan.waiver_expired' as const,
      message: `the waiver of ${waiver.id} holds no longer: it expired after ${waiver.expires}`,
      instanceId: null,
      data: { ...waiver },
    })),
    ...(judgement.outcome === 'blocked'
      ? [
          {
            type: 'scan.blocked' as const,
            message: judgement.note,
            instanceId: null,
            data: { findings: blocking, count: judgement.blocking.length },
          },
        ]
      : []),
  ]
}
const EVENT_FINDINGS = 20

/** Never silence: either the deployment ends here, or it says that nobody has looked. */
async function afterFailure(context: StageContext, error: ShiplockError): Promise<StageOutcome> {
  const kind = builtKind(artifactOf(context))
  if (failurePolicy(context, kind) === 'fail') throw withoutScan(context, kind, error.message, error)
  const note = `not scanned: ${firstLine(error)}`
  context.log('engine', `warning: ${note}`, 'scan')
  // A host that never had a scanner says so in the record; one whose scanner broke says so to everybody.
  const isExpected = configOf(context).scan.onScannerFailure === null && (await context.drivers.scanner.missing()) !== null
  return notScanned('unknown', note, isExpected ? [] : [`scan: ${note}`])
}

function firstLine({ message }: Error): string {
  return message.split('\n')[0] ?? ''
}

/** What the build yielded: a tree that was put into an image for the runtime is held to what holds for trees, wherever it runs. */
function builtKind(artifact: Artifact): Artifact['kind'] {
  return artifact.kind === 'image' && artifact.tree === undefined ? 'image' : 'tree'
}
