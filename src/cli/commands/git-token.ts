import { EXIT_CODES } from '../../core/errors.ts'
import { printable } from '../../core/printable.ts'
import type { CliContext, CommonOptions } from '../context.ts'
import { formatAgo } from '../format.ts'
import { table } from '../table.ts'

export interface GitTokenOptions extends CommonOptions {
  readonly username?: string
}

/** The token comes through a pipe or a question, never from the command line. */
export async function gitTokenSet(host: string, options: GitTokenOptions, { connect, terminal, signal }: CliContext): Promise<number> {
  const { client } = await connect()
  const token = (await terminal.readSecret(`Token for ${printable(host)}: `, signal)).trim()
  const { project, username } = options
  const made = await client.call('setGitToken', {
    params: { host },
    query: { project },
    body: { token, ...(username === undefined ? {} : { username }) },
  })
  if (terminal.isJson) terminal.json(made)
  terminal.print(
    `${terminal.colors.green('✔')} https repositories at ${made.host} are fetched with it, as user ${printable(made.username)}`,
  )
  return EXIT_CODES.ok
}

export async function gitTokenList({ project }: CommonOptions, { connect, terminal }: CliContext): Promise<number> {
  const { client } = await connect()
  const { items } = await client.call('listGitTokens', { query: { project } })
  if (terminal.isJson) terminal.json({ tokens: items })
  if (items.length === 0) terminal.print(`No tokens for git hosts. \`${terminal.program} git-token set HOST\` sets one.`)
  else {
    const now = Date.now()
    const rows = items.map((one) => [
      one.host,
      printable(one.username),
      one.fingerprint ?? '',
      `${formatAgo(one.updatedAt, now)}${one.setBy === null ? '' : ` by ${printable(one.setBy)}`}`,
    ])
    for (const line of table(['HOST', 'USER', 'FINGERPRINT', 'SET'], rows, terminal.colors.dim)) terminal.print(line)
  }
  return EXIT_CODES.ok
}

export async function gitTokenRemove(host: string, { project }: CommonOptions, { connect, terminal }: CliContext): Promise<number> {
  const { client } = await connect()
  await client.call('removeGitToken', { params: { host }, query: { project } })
  if (terminal.isJson) terminal.json({ removed: host })
  terminal.print(`${terminal.colors.green('✔')} the token for ${printable(host)} is gone`)
  return EXIT_CODES.ok
}
