import type { Event } from '../../contract/event.ts'
import { EXIT_CODES } from '../../core/errors.ts'
import { printable } from '../../core/printable.ts'
import { type CliContext, type CommonOptions, scopeOf } from '../context.ts'
import { formatClock } from '../format.ts'
import type { Terminal } from '../terminal.ts'

export interface EventsOptions extends CommonOptions {
  readonly follow?: boolean
  readonly deployment?: string
  readonly type?: string
  readonly since?: string
}

const PAGE = 200

/** `shiplock events`: the log of what happened; with -f also what happens. */
export async function events(options: EventsOptions, { connect, terminal, signal }: CliContext): Promise<number> {
  const { client } = await connect()
  const query = {
    ...scopeOf(options),
    service: options.service,
    deployment: options.deployment,
    type: options.type,
    since: options.since,
  }
  const print = (event: Event) => {
    if (terminal.isJson) terminal.json(event, { isLine: true })
    else terminal.print(renderEvent(event, terminal))
  }
  let after = '0'
  for (;;) {
    const page = await client.call('listEvents', { query: { ...query, after, limit: PAGE } })
    for (const event of page.items) print(event)
    after = String(page.items.at(-1)?.sequence ?? after)
    if (page.next === null) break
  }
  if (options.follow !== true) return EXIT_CODES.ok
  for await (const frame of client.stream('listEvents', { query: { ...query, after }, signal })) {
    if (frame.event === 'event') print(frame.data as Event)
  }
  return EXIT_CODES.ok
}

function renderEvent(event: Event, { colors }: Pick<Terminal, 'colors'>): string {
  const about = [event.service, event.environment].filter((name) => name !== null).join('@')
  const stage = typeof event.data.stage === 'string' && event.type.startsWith('stage.') ? `${printable(event.data.stage)}: ` : ''
  const type = event.type.endsWith('failed') ? colors.red(event.type) : event.terminal ? colors.bold(event.type) : event.type
  return `${colors.dim(formatClock(event.at))} ${colors.cyan(about.padEnd(ABOUT_WIDTH))} ${type}${' '.repeat(Math.max(0, TYPE_WIDTH - event.type.length))} ${stage}${printable(event.message)}${event.deploymentId === null ? '' : colors.dim(`  ${event.deploymentId}`)}`
}
const ABOUT_WIDTH = 20
const TYPE_WIDTH = 26
