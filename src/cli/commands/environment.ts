import { EXIT_CODES } from '../../core/errors.ts'
import { printable } from '../../core/printable.ts'
import type { CliContext, CommonOptions } from '../context.ts'
import { formatAgo } from '../format.ts'
import { table } from '../table.ts'

export interface EnvironmentOptions extends CommonOptions {
  readonly branch?: string
  readonly reset?: boolean
}

export async function environmentList({ project }: CommonOptions, { connect, terminal }: CliContext): Promise<number> {
  const { client } = await connect()
  const { items } = await client.call('listEnvironments', { query: { project } })
  if (terminal.isJson) terminal.json({ environments: items })
  if (items.length === 0) {
    terminal.print('No environments here. A first deployment makes one, and so does `shiplock environment create NAME`.')
    return EXIT_CODES.ok
  }
  const now = Date.now()
  const rows = items.map((one) => [
    one.name,
    one.removing === null ? printable(one.branch ?? '') : 'is being removed',
    `${one.services}`,
    formatAgo(one.createdAt, now),
  ])
  for (const line of table(['ENVIRONMENT', 'BRANCH', 'SERVICES', 'MADE'], rows, terminal.colors.dim)) terminal.print(line)
  return EXIT_CODES.ok
}

export async function environmentCreate(name: string, options: EnvironmentOptions, { connect, terminal }: CliContext): Promise<number> {
  const { client } = await connect()
  const { project, branch } = options
  const made = await client.call('createEnvironment', { body: { project, name, branch: branch ?? null } })
  if (terminal.isJson) terminal.json(made)
  terminal.print(
    `${terminal.colors.green('✔')} environment ${made.name} of ${made.project}${made.branch === null ? '' : `, branch ${branch}`}`,
  )
  return EXIT_CODES.ok
}

/** `shiplock environment branch NAME BRANCH`; without a branch its setting is taken back. */
export async function environmentBranch(
  args: readonly string[],
  { project }: CommonOptions,
  { connect, terminal }: CliContext,
): Promise<number> {
  const { client } = await connect()
  const [environment = '', branch] = args
  const changed = await client.call('changeEnvironment', { params: { environment }, query: { project }, body: { branch: branch ?? null } })
  if (terminal.isJson) terminal.json(changed)
  terminal.print(
    changed.branch === null
      ? `${changed.name}: the configuration of each service says which branch`
      : `${changed.name}: pushes to ${printable(changed.branch)} deploy here`,
  )
  return EXIT_CODES.ok
}
