import { type NotificationTarget, TOLD } from '../../contract/notification.ts'
import { EXIT_CODES, ShiplockError } from '../../core/errors.ts'
import { printable } from '../../core/printable.ts'
import { type CliContext, type CommonOptions, scopeOf } from '../context.ts'
import { formatAgo } from '../format.ts'
import { table } from '../table.ts'
import { fitted } from '../terminal.ts'

export interface NotifyOptions extends CommonOptions {
  readonly slack?: boolean
  readonly name?: string
  readonly about?: string
}

/** The URL is given by argument, or taken from a variable of the environment, so that it stands in no shell history. */
export async function notifyAdd(given: string, options: NotifyOptions, { connect, terminal, env }: CliContext): Promise<number> {
  const url = /^https?:/i.test(given) ? given : (env[given] ?? given)
  const { client } = await connect()
  const about = options.about?.split(',').map((word) => {
    const told = TOLD.find((known) => known === word.trim())
    if (told === undefined) throw new ShiplockError('INPUT_INVALID', `--about: no ${printable(word)}; there are ${TOLD.join(', ')}`)
    return told
  })
  const made = await client.call('createNotificationTarget', {
    body: {
      ...scopeOf(options),
      name: options.name ?? '',
      kind: options.slack === true ? 'slack' : 'webhook',
      url,
      ...(about === undefined ? {} : { told: about }),
    },
  })
  if (terminal.isJson) terminal.json(made)
  terminal.print(`${terminal.colors.green('✔')} ${made.target.id}: ${made.target.address} is told about ${made.target.told.join(', ')}`)
  if (made.secret !== null) {
    terminal.print('')
    terminal.print(`  secret   ${made.secret}`)
    terminal.print('')
    terminal.print('  It signs what is sent, and is shown this once.')
  }
  return EXIT_CODES.ok
}

export async function notifyList({ project }: CommonOptions, { connect, terminal }: CliContext): Promise<number> {
  const { client } = await connect()
  const { items } = await client.call('listNotificationTargets', { query: { project } })
  if (terminal.isJson) terminal.json({ targets: items })
  if (items.length === 0) terminal.print('Nobody is told anything. `shiplock notify add URL` changes that.')
  else
    for (const line of table(
      ['TARGET', 'NAME', 'WHERE', 'KIND', 'ADDRESS', 'ABOUT', 'LAST'],
      items.map(row),
      terminal.colors.dim,
      terminal.columns,
    ))
      terminal.print(line)
  return EXIT_CODES.ok
}

function row(target: NotificationTarget): string[] {
  const { last } = target
  const said =
    last === null
      ? 'nothing yet'
      : `${last.about} ${formatAgo(last.at, Date.now())}: ${last.state}${last.error === null ? '' : `, ${last.error}`}`
  return [
    target.id,
    fitted(target.name, 30),
    target.environment === null ? target.project : `${target.project}/${target.environment}`,
    target.kind,
    fitted(target.address, 60),
    target.told.join(','),
    fitted(said, 80),
  ]
}

export async function notifyRemove(ids: readonly string[], _options: CommonOptions, { connect, terminal }: CliContext): Promise<number> {
  const { client } = await connect()
  for (const id of ids) {
    await client.call('deleteNotificationTarget', { params: { id } })
    terminal.print(`${terminal.colors.green('✔')} ${printable(id)} removed`)
  }
  if (terminal.isJson) terminal.json({ removed: ids })
  return EXIT_CODES.ok
}

export async function notifyTest(id: string, _options: CommonOptions, { connect, terminal }: CliContext): Promise<number> {
  const { client } = await connect()
  const result = await client.call('testNotificationTarget', { params: { id } })
  if (terminal.isJson) terminal.json(result)
  terminal.print(`${result.sent ? terminal.colors.green('✔') : terminal.colors.red('✘')} ${printable(result.message)}`)
  return result.sent ? EXIT_CODES.ok : EXIT_CODES.platform
}
