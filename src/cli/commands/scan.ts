import type { Scan } from '../../contract/scan.ts'
import { EXIT_CODES, ShiplockError } from '../../core/errors.ts'
import { printable } from '../../core/printable.ts'
import { type CliContext, type CommonOptions, requireServiceName, scopeOf } from '../context.ts'
import { formatAgo } from '../format.ts'
import { table } from '../table.ts'
import { fitted, type Terminal } from '../terminal.ts'

export interface ScanOptions extends CommonOptions {
  /** Also what no policy is about. */
  readonly all?: boolean
}

/** `shiplock scan`: what was found in what serves, in the last attempt, or in one deployment. */
export async function scan(target: string | undefined, options: ScanOptions, context: CliContext): Promise<number> {
  const { terminal } = context
  const { client, ...connection } = await context.connect()
  const id = target?.startsWith('dep_') === true ? target : await newestOf(target, options, { client, ...connection })
  const found = await client.call('getDeploymentScan', { params: { id } })
  if (terminal.isJson) terminal.json(found)
  for (const line of renderScan(found, terminal, options.all === true)) terminal.print(line)
  return EXIT_CODES.ok
}

/** The last deployment when it was blocked, since that is what somebody has to act on; else what is live. */
async function newestOf(
  named: string | undefined,
  options: ScanOptions,
  connection: Parameters<typeof requireServiceName>[2],
): Promise<string> {
  const service = await requireServiceName(named, options, connection)
  const { latestDeployment, liveDeployment } = await connection.client.call('getService', { params: { service }, query: scopeOf(options) })
  const chosen = latestDeployment?.scan?.outcome === 'blocked' ? latestDeployment : (liveDeployment ?? latestDeployment)
  if (chosen === null) throw new ShiplockError('NOT_FOUND', `nothing of ${service} was deployed yet`)
  return chosen.id
}

export function renderScan(scan: Scan, { colors, columns }: Pick<Terminal, 'colors' | 'columns'>, all: boolean): string[] {
  const { report } = scan
  const color = scan.outcome === 'blocked' ? colors.red : scan.outcome === 'passed' ? colors.green : colors.yellow
  const head = `  ${colors.bold(scan.service)}  ${scan.deploymentId}  ${color(scan.outcome)}  ${printable(scan.note)}`
  if (report === null) return [head]
  const shown = scan.findings.filter((finding) => all || (finding.state !== 'counted' && finding.state !== 'ignored'))
  const hidden = scan.findings.length - shown.length
  const database = report.databaseAt === null ? '' : `, database of ${report.databaseAt.slice(0, 10)}`
  const packages = report.targets.reduce((sum, target) => sum + target.packages, 0)
  const rows = shown.map((finding) => [
    `    ${severityColor(finding.severity, colors)(finding.severity.toUpperCase())}`,
    fitted(finding.id, 24),
    fitted(`${finding.package} ${finding.installed}`, 40),
    finding.fixed === null ? colors.dim('no fix yet') : fitted(finding.fixed, 24),
    stateInWords(finding),
    fitted(finding.title ?? finding.target, TITLE_SHOWN),
  ])
  return [
    head,
    colors.dim(
      `    ${report.scanner} ${printable(report.version ?? '')}${database}, ${formatAgo(report.scannedAt, Date.now())}; ${packages} packages in ${report.targets.length} places`,
    ),
    ...report.gaps.map((gap) => `    ${colors.yellow('!')} not looked into: ${printable(gap)}`),
    ...report.notes.map((note) => `    ${colors.yellow('!')} ${printable(note)}`),
    ...(rows.length === 0 ? [] : table(['    SEVERITY', 'ID', 'PACKAGE', 'FIXED IN', 'POLICY', 'WHAT'], rows, colors.dim, columns)),
    ...(hidden > 0 ? [colors.dim(`    ${hidden} more below what any policy is about; --all shows them`)] : []),
  ]
}

const TITLE_SHOWN = 300

function stateInWords({ state, waiver }: Scan['findings'][number]): string {
  if (waiver === null) return state
  const until = waiver.expires === null ? '' : ` until ${printable(waiver.expires)}`
  return waiver.isExpired
    ? `${state}, waiver expired after ${printable(waiver.expires ?? '')}`
    : `waived${until}: ${fitted(waiver.reason, 40)}`
}

function severityColor(severity: string, colors: Terminal['colors']): (text: string) => string {
  if (severity === 'critical') return colors.red
  return severity === 'high' ? colors.yellow : colors.dim
}
