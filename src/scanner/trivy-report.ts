import { z } from 'zod'
import { ShiplockError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { printable } from '../core/printable.ts'
import { countSeverities, orderFindings, type ScanFinding, type ScanReport, type ScanTarget, SEVERITIES } from '../domain/scan-report.ts'

/** What is read of Trivy's JSON, schema version 2 (Trivy 0.20 and later; pkg/types/report.go). Go writes empty lists as null or not at all. */
const Vulnerability = z.looseObject({
  VulnerabilityID: z.string().min(1),
  PkgName: z.string().min(1),
  // "Always filled" says the documentation; a source with an empty version is not worth a refusal.
  InstalledVersion: z.string().nullish(),
  FixedVersion: z.string().nullish(),
  Severity: z.string().nullish(),
  Title: z.string().nullish(),
  PrimaryURL: z.string().nullish(),
})
const Result = z.looseObject({
  Target: z.string(),
  Class: z.string().nullish(),
  Type: z.string().nullish(),
  Packages: z.array(z.unknown()).nullish(),
  Vulnerabilities: z.array(Vulnerability).nullish(),
})
const Report = z.looseObject({
  SchemaVersion: z.literal(2),
  Metadata: z
    .looseObject({ OS: z.looseObject({ Family: z.string().nullish(), Name: z.string().nullish(), EOSL: z.boolean().nullish() }).nullish() })
    .nullish(),
  Results: z.array(Result).nullish(),
})

/** What one run found. */
export interface TrivyFindings {
  readonly targets: readonly ScanTarget[]
  readonly findings: readonly ScanFinding[]
  readonly notes: readonly string[]
}

/** Reads what a run printed. Throws SCANNER_FAILED for anything but a whole report: half a report would be called clean. */
export function parseTrivyReport(text: string): TrivyFindings {
  let data: unknown
  try {
    data = JSON.parse(text)
  } catch {
    throw unreadable(text.trim() === '' ? 'it printed nothing' : `it printed ${Buffer.byteLength(text)} bytes that are not JSON`)
  }
  if (Array.isArray(data)) throw unreadable('its report has the format of Trivy before 0.20', 'Install a current Trivy on the server.')
  const parsed = Report.safeParse(data)
  if (!parsed.success) throw unreadable(problemOf(data, parsed.error))
  const results = (parsed.data.Results ?? []).filter(({ Class }) => Class == null || Class === 'os-pkgs' || Class === 'lang-pkgs')
  const os = parsed.data.Metadata?.OS
  const end =
    os?.EOSL === true
      ? [`${harmless(`${os.Family ?? 'its system'} ${os.Name ?? ''}`.trim(), 100)} is past its end of life and gets no updates`]
      : []
  return { targets: results.map(targetOf), findings: results.flatMap(findingsOf), notes: end }
}

/** Several runs on parts of one artifact, as one report. */
export function mergeFindings(
  runs: readonly TrivyFindings[],
  facts: Pick<ScanReport, 'version' | 'databaseAt' | 'scannedAt' | 'gaps'> & { readonly notes: readonly string[] },
): ScanReport {
  const findings = orderFindings(runs.flatMap((run) => run.findings))
  const cut = findings.length - LIMITS.scanFindings
  return {
    ...facts,
    scanner: 'trivy',
    targets: runs.flatMap((run) => run.targets).slice(0, LIMITS.scanTargets),
    counts: countSeverities(findings),
    findings: findings.slice(0, LIMITS.scanFindings),
    notes: [
      ...new Set([
        ...facts.notes,
        ...runs.flatMap((run) => run.notes),
        ...(cut > 0 ? [`${cut} more findings, the least severe, were counted but not kept`] : []),
      ]),
    ],
  }
}

function targetOf(result: z.infer<typeof Result>): ScanTarget {
  return {
    target: harmless(result.Target, 300),
    kind: harmless(result.Type ?? result.Class ?? '', 50),
    packages: result.Packages?.length ?? 0,
  }
}

function findingsOf(result: z.infer<typeof Result>): ScanFinding[] {
  return (result.Vulnerabilities ?? []).map((found) => ({
    id: harmless(found.VulnerabilityID, 100),
    package: harmless(found.PkgName, 200),
    installed: harmless(found.InstalledVersion ?? '', 100),
    fixed: harmless(found.FixedVersion ?? '', 200) || null,
    severity: SEVERITIES.find((severity) => severity === found.Severity?.toLowerCase()) ?? 'unknown',
    target: harmless(result.Target, 300),
    title: harmless(found.Title ?? '', 300) || null,
    url: /^https?:\/\/\S+$/.test(found.PrimaryURL ?? '') ? harmless(found.PrimaryURL ?? '', 500) : null,
  }))
}

/** Foreign text: harmless, and cut. */
function harmless(text: string, length: number): string {
  return printable(text).slice(0, length)
}

function problemOf(data: unknown, error: z.ZodError): string {
  const version = (data as { SchemaVersion?: unknown } | null)?.SchemaVersion
  if (version !== 2) return `its report has schema version ${printable(String(version)).slice(0, 20)}; version 2 is understood`
  const [issue] = error.issues
  return `its report is not of the documented form at ${issue?.path.join('.') || 'its top'}: ${issue?.message ?? ''}`
}

function unreadable(why: string, hint?: string): ShiplockError {
  return new ShiplockError('SCANNER_FAILED', `trivy's report can't be read: ${why}`, hint === undefined ? {} : { hint })
}
