import { EXIT_CODES, ShiplockError } from '../../core/errors.ts'
import { printable } from '../../core/printable.ts'
import { type CliContext, type CommonOptions, scopeOf } from '../context.ts'
import { formatAgo, formatClock } from '../format.ts'
import { table, wrapped } from '../table.ts'
import { colorStatus } from './status.ts'

export async function queue(_options: CommonOptions, { connect, terminal }: CliContext): Promise<number> {
  const { client } = await connect()
  const { items } = await client.call('getQueue')
  if (terminal.isJson) terminal.json({ queue: items })
  if (items.length === 0) {
    terminal.print('Nothing is in progress and nothing waits.')
    return EXIT_CODES.ok
  }
  const { colors } = terminal
  const now = Date.now()
  const rows = items.map((entry) => [
    entry.place === null ? '' : `${entry.place}`,
    entry.id,
    `${entry.service}@${entry.environment}`,
    colorStatus(entry.status, colors),
    formatAgo(entry.since, now),
    printable(entry.waitsFor),
  ])
  for (const line of table(['PLACE', 'DEPLOYMENT', 'SERVICE', 'STATUS', 'SINCE', 'WHY'], rows, colors.dim, terminal.columns))
    terminal.print(line)
  return EXIT_CODES.ok
}

/** `shiplock why`: facts and one next step. */
export async function why(id: string, _options: CommonOptions, { connect, terminal }: CliContext): Promise<number> {
  const { client } = await connect()
  const told = await client.call('explainDeployment', { params: { id } })
  if (terminal.isJson) terminal.json(told)
  const { colors, columns } = terminal
  const beside = (width: number, text: string) => wrapped(printable(text), Math.max(FACT_WIDTH_MIN, columns - width))
  terminal.print()
  for (const line of beside(2, told.summary)) terminal.print(`  ${colors.bold(line)}`)
  terminal.print()
  for (const { at, text } of told.facts) {
    const [first, ...more] = beside(CLOCK_WIDTH, text)
    terminal.print(`  ${colors.dim(formatClock(at))}  ${first}`)
    for (const line of more) terminal.print(' '.repeat(CLOCK_WIDTH) + line)
  }
  const [first, ...more] = beside(NEXT_WIDTH, told.next)
  terminal.print(`\n  ${colors.bold('Next:')} ${first}`)
  for (const line of more) terminal.print(' '.repeat(NEXT_WIDTH) + line)
  return EXIT_CODES.ok
}

/** `  12:03:04.123  ` */
const CLOCK_WIDTH = 16
/** `  Next: ` */
const NEXT_WIDTH = 8
const FACT_WIDTH_MIN = 40

/** `shiplock cancel`: the deployment that is named, or the one that is not settled. */
export async function cancel(named: string | undefined, options: CommonOptions, { connect, terminal }: CliContext): Promise<number> {
  const { client } = await connect()
  const id = named ?? (await onlyUnsettled(options, await client.call('getQueue')))
  const deployment = await client.call('cancelDeployment', { params: { id } })
  if (terminal.isJson) terminal.json(deployment)
  terminal.print(
    deployment.status === 'canceled'
      ? `${terminal.colors.green('✔')} ${id} is canceled`
      : `${id}: cancel asked for; \`shiplock logs ${id} -f\` shows it end`,
  )
  return EXIT_CODES.ok
}

type Queue = { readonly items: readonly { id: string; service: string; environment: string; project: string }[] }

async function onlyUnsettled(options: CommonOptions, { items }: Queue): Promise<string> {
  const scope = scopeOf(options)
  const found = items.filter(
    (entry) =>
      (options.service === undefined || entry.service === options.service) &&
      (scope.environment === undefined || entry.environment === scope.environment) &&
      (scope.project === undefined || entry.project === scope.project),
  )
  const [only] = found
  if (found.length === 1 && only !== undefined) return only.id
  throw new ShiplockError(
    found.length === 0 ? 'NOT_FOUND' : 'INPUT_INVALID',
    found.length === 0
      ? 'nothing is in progress and nothing waits'
      : `which one? ${found.map((entry) => `${entry.id} (${entry.service})`).join(', ')}`,
  )
}
