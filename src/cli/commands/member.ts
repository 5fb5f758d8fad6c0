import { EXIT_CODES } from '../../core/errors.ts'
import type { Role } from '../../domain/access.ts'
import type { CliContext, CommonOptions } from '../context.ts'
import { formatAgo } from '../format.ts'
import { table } from '../table.ts'

export interface RoleOptions extends CommonOptions {
  readonly role: Role
}

export async function memberList({ project }: CommonOptions, { connect, terminal }: CliContext): Promise<number> {
  const { client } = await connect()
  const { items } = await client.call('listMembers', { query: { project } })
  if (terminal.isJson) terminal.json({ members: items })
  if (items.length === 0) {
    terminal.print('No members here. `shiplock member add NAME --role developer` adds one.')
    return EXIT_CODES.ok
  }
  const now = Date.now()
  const rows = items.map((one) => [one.name, one.role, `${one.tokens}`, formatAgo(one.createdAt, now)])
  for (const line of table(['MEMBER', 'ROLE', 'TOKENS', 'ADDED'], rows, terminal.colors.dim)) terminal.print(line)
  return EXIT_CODES.ok
}

export async function memberAdd(name: string, { project, role }: RoleOptions, { connect, terminal }: CliContext): Promise<number> {
  const { client } = await connect()
  const member = await client.call('addMember', { body: { project, name, role } })
  if (terminal.isJson) terminal.json(member)
  terminal.print(`${terminal.colors.green('✔')} ${member.name} is ${member.role} of ${member.project}`)
  terminal.print(`  \`shiplock token create NAME --member ${member.name} -p ${member.project}\` makes a token for them`)
  return EXIT_CODES.ok
}

export async function memberRole(name: string, { project, role }: RoleOptions, { connect, terminal }: CliContext): Promise<number> {
  const { client } = await connect()
  const member = await client.call('changeMember', { params: { member: name }, query: { project }, body: { role } })
  if (terminal.isJson) terminal.json(member)
  terminal.print(`${terminal.colors.green('✔')} ${member.name} is ${member.role} of ${member.project}, with all of ${member.tokens} tokens`)
  return EXIT_CODES.ok
}

export async function memberRemove(name: string, { project }: CommonOptions, { connect, terminal }: CliContext): Promise<number> {
  const { client } = await connect()
  await client.call('removeMember', { params: { member: name }, query: { project } })
  if (terminal.isJson) terminal.json({ removed: name })
  terminal.print(`${terminal.colors.green('✔')} ${name} is no member any more; their tokens ended`)
  return EXIT_CODES.ok
}
