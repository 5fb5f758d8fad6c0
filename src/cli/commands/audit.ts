import { EXIT_CODES } from '../../core/errors.ts'
import { printable } from '../../core/printable.ts'
import type { CliContext, CommonOptions } from '../context.ts'
import { table } from '../table.ts'

export interface AuditOptions extends CommonOptions {
  readonly actor?: string
  readonly action?: string
  readonly since?: string
  readonly lines: number
}

const PAGE_MAX = 200

/** `shiplock audit`: newest last, as logs are read. */
export async function audit(options: AuditOptions, { connect, terminal }: CliContext): Promise<number> {
  const { client } = await connect()
  const { project, environment, actor, action, since } = options
  const query = { project, environment, actor, action, since }
  const items = []
  for (let cursor: string | undefined; items.length < options.lines; ) {
    const limit = Math.min(PAGE_MAX, options.lines - items.length)
    const page = await client.call('listAudit', { query: { ...query, cursor, limit } })
    items.push(...page.items)
    if (page.next === null) break
    cursor = page.next
  }
  items.reverse()
  if (terminal.isJson) terminal.json({ audit: items })
  const rows = items.map((entry) => [
    entry.at.slice(0, 19).replace('T', ' '),
    printable(entry.actor),
    entry.address ?? '',
    entry.action,
    entry.project ?? '',
    printable(entry.target ?? ''),
    Object.keys(entry.data).length === 0 ? '' : printable(JSON.stringify(entry.data)),
  ])
  for (const line of table(['TIME (UTC)', 'WHO', 'FROM', 'DID', 'PROJECT', 'TO', 'WITH'], rows, terminal.colors.dim, terminal.columns))
    terminal.print(line)
  return EXIT_CODES.ok
}
