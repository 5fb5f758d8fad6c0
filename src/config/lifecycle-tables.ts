import { LIMITS } from '../core/limits.ts'
import { type DeploymentStatus, IN_PROGRESS, NEXT, STAGES, STATUS_OF_STAGE, STATUSES } from '../domain/deployment-machine.ts'
import { serviceDefaults } from './service-defaults.ts'

const STATUS_MEANINGS: Readonly<Record<DeploymentStatus, string>> = {
  pending: 'It waits; `shiplock queue` says for what.',
  cloning: 'The source is fetched, its configuration read.',
  building: 'Built, prepared, scanned, published.',
  deploying: 'Started beside what is live, checked, put on the route.',
  running: 'It serves.',
  failed: 'It never served, or was swapped back within its bake. What was live serves.',
  canceled: 'Somebody ended it before its swap.',
  superseded: 'A newer deployment serves.',
  rolled_back: 'A rollback serves. (ezForge calls superseded ones so, too.)',
}

/** Keys of the configuration that decide how a deployment goes. */
const DEFAULT_PREFIXES = ['deploy.', 'run.healthCheck.', 'run.initFailure', 'run.instances', 'retention', 'build.timeout']

const SHOWN_LIMITS = {
  buildHardTimeoutMs: 'one build, whatever `build.timeout` says',
  buildCpus: 'cores of a build',
  instances: 'instances of a service and environment',
  verifyAttempts: 'instances tried per copy (`attempts`)',
  probeAttemptsKept: 'probes kept to explain a failure',
  errorLogTailLines: 'last lines kept with an error',
  holdMs: 'how long requests wait while nothing serves (`temporaryShutdown`, the restart of an only instance)',
  heldRequests: 'requests that wait so; further ones are answered 503',
  drainMaxMs: 'the longest `drainTimeout`',
  restartBackoffMaxMs: 'the longest pause between restarts of an instance that crashes',
  leaseMs: 'until another server takes up what a dead one left (its own restart does so at once)',
  deploymentLogBytes: 'log of a deployment',
  instanceLogBytes: 'log of an instance; the oldest lines go',
  onceKeptMs: 'what `shiplock-once` recorded, after the last instance of a deployment',
  uploadBytes: 'an upload, packed',
  variables: 'variables of an instance',
  pendingPerServiceEnvironment: 'deployments that wait for one service and environment',
} as const satisfies Partial<Record<keyof typeof LIMITS, string>>

/** The tables of docs/lifecycle.md, by the name of their markers. */
export function lifecycleTables(): Readonly<Record<string, string>> {
  return { statuses: statusTable(), defaults: defaultsTable(), limits: limitsTable() }
}

function statusTable(): string {
  const rows = STATUSES.map((status) => {
    const stages = STAGES.filter((stage) => STATUS_OF_STAGE[stage] === status).join(', ')
    const isInProgress = (IN_PROGRESS as readonly string[]).includes(status)
    const next = NEXT[status].map((move) => `\`${move}\``).join(' ') || 'nothing'
    return [`\`${status}\``, STATUS_MEANINGS[status], stages || '–', isInProgress ? 'held' : 'free', next]
  })
  return table(['Status', 'What it says', 'Stages', 'Slot', 'Can become'], rows)
}

function defaultsTable(): string {
  const shown = [...serviceDefaults()].filter(([key]) => DEFAULT_PREFIXES.some((prefix) => key.startsWith(prefix)))
  const rows = shown.flatMap(([key, value]) =>
    value === null ? [] : [[`\`${key}\``, `\`${JSON.stringify(value).replace(/^"|"$/g, '')}\``]],
  )
  return table(['Key', 'Default'], rows)
}

function limitsTable(): string {
  const rows = Object.entries(SHOWN_LIMITS).map(([name, about]) => [about, format(name, LIMITS[name as keyof typeof SHOWN_LIMITS])])
  return table(['What', 'Bound'], rows)
}

/** Names of bounds end with their unit. */
function format(name: string, value: number): string {
  if (name.endsWith('Bytes')) return `${value / 1024 ** 2} MiB`
  if (!name.endsWith('Ms')) return String(value)
  return value >= 60_000 ? `${value / 60_000} min` : `${value / 1000} s`
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
  return ['', line(head), line(head.map(() => '---')), ...rows.map(line), ''].join('\n')
}
