import { EXIT_CODES } from '../../core/errors.ts'
import { printable } from '../../core/printable.ts'
import type { CliContext, CommonOptions } from '../context.ts'
import { table } from '../table.ts'
import { fitted } from '../terminal.ts'

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
    fitted(entry.target ?? '', TARGET_SHOWN),
    printable(inWords(entry.data).join(' ')),
  ])
  for (const line of table(['TIME (UTC)', 'WHO', 'FROM', 'DID', 'PROJECT', 'TO', 'WITH'], rows, terminal.colors.dim, terminal.columns))
    terminal.print(line)
  return EXIT_CODES.ok
}
/** Names and ids are shorter; a digest is told by its beginning. */
const TARGET_SHOWN = 34

/** `name=value`, of what was said. */
function inWords(data: Readonly<Record<string, unknown>>): string[] {
  return Object.entries(data).flatMap(([name, value]) => {
    if (value === null || value === undefined) return []
    if (typeof value === 'object' && !Array.isArray(value)) return inWords(value as Readonly<Record<string, unknown>>)
    return [`${name}=${typeof value === 'string' && /^\S+$/.test(value) ? value : JSON.stringify(value)}`]
  })
}
