import { DURATION_FORMS, parseDuration } from '../../config/duration.ts'
import type { Freeze } from '../../contract/queue.ts'
import { EXIT_CODES, ShiplockError } from '../../core/errors.ts'
import { printable } from '../../core/printable.ts'
import { type CliContext, type CommonOptions, scopeOf } from '../context.ts'
import { formatAgo } from '../format.ts'
import { table } from '../table.ts'

export interface FreezeOptions extends CommonOptions {
  readonly until?: string
  readonly reason?: string
  readonly projectWide?: boolean
}

/** `shiplock freeze ENV --until TIME --reason TEXT` */
export async function freeze(environment: string | undefined, options: FreezeOptions, { connect, terminal }: CliContext): Promise<number> {
  const scope = frozenScope(environment, options)
  const reason = options.reason?.trim() ?? ''
  if (reason === '') {
    throw new ShiplockError('INPUT_INVALID', '--reason is missing', { hint: 'Say why: whoever is held back by the freeze reads it.' })
  }
  const { client } = await connect()
  const made = await client.call('createFreeze', { body: { ...scope, reason, ...endOf(options.until) } })
  if (terminal.isJson) terminal.json(made)
  terminal.print(`${terminal.colors.green('✔')} ${placeOf(made)} is frozen ${untilOf(made)}`)
  terminal.print(
    terminal.colors.dim('  Nothing starts there but rollbacks and deployments with --override-freeze; what is in progress goes on.'),
  )
  return EXIT_CODES.ok
}

/** `shiplock unfreeze ENV` */
export async function unfreeze(
  environment: string | undefined,
  options: FreezeOptions,
  { connect, terminal }: CliContext,
): Promise<number> {
  const scope = frozenScope(environment, options)
  const { client } = await connect()
  const { lifted } = await client.call('liftFreeze', { query: scope })
  if (terminal.isJson) terminal.json({ lifted })
  const place = scope.environment ?? 'the whole project'
  terminal.print(lifted ? `${terminal.colors.green('✔')} ${place} is no longer frozen` : `${place} was not frozen`)
  return EXIT_CODES.ok
}

/** `shiplock freezes`: those that last. */
export async function freezes(options: CommonOptions, { connect, terminal }: CliContext): Promise<number> {
  const { client } = await connect()
  const { items } = await client.call('listFreezes', { query: scopeOf(options) })
  if (terminal.isJson) terminal.json({ freezes: items })
  if (items.length === 0) {
    terminal.print('Nothing is frozen.')
    return EXIT_CODES.ok
  }
  const now = Date.now()
  const rows = items.map((item) => [
    placeOf(item),
    item.until ?? 'until lifted',
    item.createdBy,
    formatAgo(item.createdAt, now),
    printable(item.reason),
  ])
  for (const line of table(['WHERE', 'UNTIL', 'BY', 'SINCE', 'REASON'], rows, terminal.colors.dim, terminal.columns)) terminal.print(line)
  return EXIT_CODES.ok
}

/** A whole project is never meant by leaving something out. */
function frozenScope(named: string | undefined, options: FreezeOptions): { project?: string; environment?: string } {
  const environment = named ?? options.environment
  const project = options.project === undefined ? {} : { project: options.project }
  if (options.projectWide === true && environment === undefined) return project
  if (options.projectWide !== true && environment !== undefined) return { ...project, environment }
  throw new ShiplockError(
    'INPUT_INVALID',
    environment === undefined ? 'which environment?' : 'an environment and --project-wide exclude each other',
    {
      hint: 'Name an environment (`shiplock freeze production`), or give --project-wide for all of them.',
    },
  )
}

/** A duration counts by the clock of the server's database, a time is a time. */
function endOf(given: string | undefined): { until?: string; forMs?: number } {
  if (given === undefined) return {}
  const forMs = /[a-z]$/.test(given) ? parseDuration(given) : null
  if (forMs !== null) return { forMs }
  const time = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)$/.test(given) ? new Date(given) : new Date(Number.NaN)
  if (!Number.isNaN(time.getTime())) return { until: time.toISOString() }
  throw new ShiplockError('INPUT_INVALID', `--until ${JSON.stringify(given)} is no time`, {
    hint: `Give ${DURATION_FORMS}, or a time with its zone: 2026-12-24T18:00Z.`,
  })
}

function placeOf({ project, environment }: Freeze): string {
  return environment === null ? `project ${project}` : `${environment} of ${project}`
}

function untilOf({ until }: Freeze): string {
  return until === null ? 'until it is lifted' : `until ${until}`
}
