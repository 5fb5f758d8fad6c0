import { parseDuration } from '../../config/duration.ts'
import type { Token } from '../../contract/access.ts'
import { EXIT_CODES, ShiplockError } from '../../core/errors.ts'
import { type Role, VERBS, type Verb } from '../../domain/access.ts'
import type { CliContext, CommonOptions } from '../context.ts'
import { formatAgo } from '../format.ts'
import { table } from '../table.ts'

export interface TokenOptions extends CommonOptions {
  readonly member?: string
  readonly role?: Role
  readonly verbs?: string
  readonly expires?: string
  readonly server?: boolean
}

export async function tokenCreate(name: string, options: TokenOptions, { connect, terminal }: CliContext): Promise<number> {
  const { client } = await connect()
  const { project, environment, member, role } = options
  const common = { name, verbs: verbsOf(options.verbs), expiresInSeconds: secondsOf(options.expires), role }
  const made =
    options.server === true
      ? await client.call('createServerToken', { body: common })
      : await client.call('createToken', { body: { ...common, project, environment, member } })
  if (terminal.isJson) terminal.json(made)
  terminal.print(`${terminal.colors.green('✔')} ${made.name} (${made.id}): ${made.verbs.join(', ')} in ${placeOf(made)}, ${endOf(made)}`)
  terminal.print('')
  terminal.print(`  SHIPLOCK_TOKEN=${made.token}`)
  terminal.print('')
  terminal.print('  It is shown this once. Whoever has it sets it beside SHIPLOCK_URL.')
  return EXIT_CODES.ok
}

export async function tokenList({ project, environment }: CommonOptions, { connect, terminal }: CliContext): Promise<number> {
  const { client } = await connect()
  const items: Token[] = []
  for (let cursor: string | undefined; ; ) {
    const page = await client.call('listTokens', { query: { project, environment, cursor, limit: 200 } })
    items.push(...page.items)
    if (page.next === null) break
    cursor = page.next
  }
  if (terminal.isJson) terminal.json({ tokens: items })
  show(items, terminal)
  return EXIT_CODES.ok
}

/** `shiplock token show`: what the token of this command may. */
export async function tokenShow(_options: CommonOptions, { connect, terminal }: CliContext): Promise<number> {
  const { client } = await connect()
  const token = await client.call('getOwnToken')
  if (terminal.isJson) terminal.json(token)
  show([token], terminal)
  return EXIT_CODES.ok
}

export async function tokenRevoke(ids: readonly string[], _options: CommonOptions, { connect, terminal }: CliContext): Promise<number> {
  const { client } = await connect()
  const revoked: Token[] = []
  for (const id of ids) {
    const token = await client.call('revokeToken', { params: { id } })
    revoked.push(token)
    terminal.print(`${terminal.colors.green('✔')} ${token.name} (${token.id}) ended`)
  }
  if (terminal.isJson) terminal.json({ tokens: revoked })
  return EXIT_CODES.ok
}

function show(tokens: readonly Token[], terminal: CliContext['terminal']): void {
  const now = Date.now()
  const rows = tokens.map((token) => [
    token.id,
    token.member === null ? token.name : `${token.name} of ${token.member}`,
    placeOf(token),
    token.role,
    token.lastUsedAt === null ? 'never' : formatAgo(token.lastUsedAt, now),
    token.revokedAt === null && token.expiresAt !== null ? token.expiresAt.slice(0, 10) : endOf(token),
    token.verbs.join(', '),
  ])
  const headers = ['TOKEN', 'NAME', 'WHERE', 'ROLE', 'USED', 'UNTIL', 'MAY']
  for (const line of table(headers, rows, terminal.colors.dim, terminal.columns)) terminal.print(line)
}

const placeOf = (token: Token) =>
  token.project === null ? 'the whole server' : token.environment === null ? token.project : `${token.project}/${token.environment}`

function endOf(token: Token): string {
  if (token.revokedAt !== null) return 'revoked'
  return token.expiresAt === null ? 'no end' : `until ${token.expiresAt.slice(0, 16)}Z`
}

function verbsOf(given: string | undefined): Verb[] | null {
  if (given === undefined) return null
  return given.split(',').map((word) => {
    const verb = VERBS.find((known) => known === word.trim())
    if (verb === undefined) throw new ShiplockError('INPUT_INVALID', `no verb ${word.trim()}; there are ${VERBS.join(', ')}`)
    return verb
  })
}

function secondsOf(given: string | undefined): number | null {
  if (given === undefined) return null
  const ms = parseDuration(given)
  if (ms === null || ms < 1000) throw new ShiplockError('INPUT_INVALID', '--expires: a duration is needed, e.g. 90d or 12h')
  return Math.round(ms / 1000)
}
