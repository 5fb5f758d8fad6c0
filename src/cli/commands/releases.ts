import type { Release } from '../../contract/release.ts'
import type { RollbackPlan } from '../../contract/rollback.ts'
import { EXIT_CODES, ShiplockError } from '../../core/errors.ts'
import { printable } from '../../core/printable.ts'
import { type CliContext, type CommonOptions, requireServiceName, scopeOf } from '../context.ts'
import { formatAgo } from '../format.ts'
import { describeSource } from '../render-deployment.ts'
import { table } from '../table.ts'
import { fitted, type Terminal } from '../terminal.ts'
import { followAll } from './deploy.ts'

export interface ReleasesOptions extends CommonOptions {
  readonly pin?: string
  readonly unpin?: string
}

export async function releases(named: string | undefined, options: ReleasesOptions, context: CliContext): Promise<number> {
  const { terminal } = context
  const connection = await context.connect()
  const { client } = connection
  const service = await requireServiceName(named, options, connection)
  for (const [operation, given] of [
    ['pinRelease', options.pin],
    ['unpinRelease', options.unpin],
  ] as const) {
    if (given === undefined) continue
    await client.call(operation, { params: { service, release: parseRelease(given) }, query: scopeOf(options) })
  }
  const { items } = await client.call('listReleases', { params: { service }, query: { ...scopeOf(options), limit: 50 } })
  if (terminal.isJson) terminal.json({ releases: items })
  for (const line of renderReleases(items, terminal)) terminal.print(line)
  return EXIT_CODES.ok
}

function renderReleases(items: readonly Release[], { colors }: Terminal): string[] {
  if (items.length === 0) return ['No release yet.']
  const now = Date.now()
  const rows = items.map((release) => [
    `v${release.number}`,
    stateOf(release, colors),
    fitted(describeSource({ revision: release.revision, source: null }), 60),
    release.revision.kind === 'git' ? fitted(release.revision.author, 24) : '',
    scanOf(release, colors),
    `${release.trigger.kind} by ${fitted(release.trigger.actor, 20)}`,
    formatAgo(release.createdAt, now),
  ])
  return table(['RELEASE', 'STATE', 'SOURCE', 'AUTHOR', 'SCAN', 'TRIGGER', 'MADE'], rows, colors.dim)
}

function scanOf({ scan }: Release, colors: Terminal['colors']): string {
  if (scan === null) return colors.dim('none')
  const { critical, high } = scan.counts
  const partial = scan.isPartial ? ', partial' : ''
  if (critical > 0) return colors.red(`${critical} critical${partial}`)
  if (high > 0) return colors.yellow(`${high} high${partial}`)
  return scan.isPartial ? colors.yellow('partial: none found') : 'no critical, no high'
}

function stateOf(release: Release, colors: Terminal['colors']): string {
  const pinned = release.pinned ? ', pinned' : ''
  if (release.live) return colors.green(`live${pinned}`)
  if (!release.kept) return colors.dim('deleted')
  if (release.lastStatus === 'failed') return colors.red(`failed${pinned}`)
  if (release.standby) return `standby${pinned}`
  return `kept${pinned}`
}

export interface RollbackOptions extends CommonOptions {
  readonly env?: string
  readonly force?: boolean
  readonly detach?: boolean
  readonly settled?: boolean
  readonly plan?: boolean
  /** Without the question. */
  readonly yes?: boolean
  /** Goes nowhere: only lets automatic deployments go on. */
  readonly releaseHold?: boolean
  readonly message?: string
}

/** `shiplock rollback`: shows what will differ, then goes there. */
export async function rollback(given: string | undefined, options: RollbackOptions, context: CliContext): Promise<number> {
  const { terminal } = context
  const connection = await context.connect()
  const { client } = connection
  const service = await requireServiceName(undefined, options, connection)
  if (options.releaseHold === true) {
    const released = await client.call('releaseHold', { params: { service }, query: scopeOf(options) })
    if (terminal.isJson) terminal.json(released)
    terminal.print(`${terminal.colors.green('✔')} automatic deployments of ${service} go on`)
    return EXIT_CODES.ok
  }
  const release = given === undefined ? undefined : parseRelease(given)
  const variables = options.env === 'current' ? 'current' : 'sealed'
  const force = options.force === true
  const plan = await client.call('planRollback', { params: { service }, query: { ...scopeOf(options), release, force, variables } })
  for (const line of renderPlan(plan, terminal)) terminal.print(line)
  if (options.plan === true) {
    if (terminal.isJson) terminal.json(plan)
    return EXIT_CODES.ok
  }
  if (options.yes !== true && terminal.canAsk && !(await terminal.confirm(`  Go back to v${plan.to}?`, context.signal))) {
    terminal.print('  Nothing was changed.')
    return EXIT_CODES.canceled
  }
  const deployment = await client.call('createRollback', {
    body: { ...scopeOf(options), service, release: plan.to, variables, force, trigger: { kind: 'cli', note: options.message ?? null } },
  })
  return followAll([deployment], client, options, context)
}

/** `shiplock releases diff`: one release beside the live one. Changes nothing. */
export async function releasesDiff(given: string, options: RollbackOptions, context: CliContext): Promise<number> {
  const { terminal } = context
  const connection = await context.connect()
  const service = await requireServiceName(undefined, options, connection)
  const variables = options.env === 'current' ? 'current' : 'sealed'
  // Also of one that failed, or that is live: it is only looked at.
  const query = { ...scopeOf(options), release: parseRelease(given), force: true, variables }
  const plan = await connection.client.call('planRollback', { params: { service }, query })
  if (terminal.isJson) terminal.json(plan)
  for (const line of renderPlan(plan, terminal)) terminal.print(line)
  return EXIT_CODES.ok
}

/** Then, now, and what differs. Of secrets only that they differ (I8). */
export function renderPlan(plan: RollbackPlan, { colors }: Pick<Terminal, 'colors'>): string[] {
  const from = plan.from === null ? 'nothing live' : `v${plan.from}`
  const head = `  ${colors.bold(plan.service)}  ${from} → ${colors.bold(`v${plan.to}`)}  ${colors.dim(plan.warm ? 'its instances still stand' : 'new instances are started')}`
  const warnings = plan.warnings.map((warning) => `    ${colors.yellow('!')} ${printable(warning)}`)
  if (plan.differences.length === 0) return [head, ...warnings, `    ${colors.dim('nothing differs')}`]
  const cell = (value: string | null, isThere: boolean) => (isThere ? (value === null ? '********' : fitted(value, VALUE_WIDTH)) : '–')
  const marks = { added: colors.green('+'), removed: colors.red('-'), changed: colors.yellow('~') }
  const rows = plan.differences.map((difference) => [
    `    ${marks[difference.change]} ${difference.kind} ${printable(difference.name)}`,
    cell(difference.target, difference.change !== 'removed'),
    cell(difference.current, difference.change !== 'added'),
  ])
  return [
    head,
    ...warnings,
    ...table(['      WHAT DIFFERS', `THEN (v${plan.to})`, `NOW (${plan.from === null ? 'nothing' : from})`], rows, colors.dim),
  ]
}
const VALUE_WIDTH = 36

/** `v3` or `3`. */
export function parseRelease(given: string): number {
  const digits = /^v?(\d{1,9})$/.exec(given)?.[1]
  if (digits === undefined || Number(digits) < 1) {
    throw new ShiplockError('INPUT_INVALID', `${printable(given)} is no release number`, {
      hint: 'Write it as v3; `shiplock releases` lists them.',
    })
  }
  return Number(digits)
}
