import { EXIT_CODES, ShiplockError } from '../../core/errors.ts'
import { printable } from '../../core/printable.ts'
import type { CliContext, CommonOptions } from '../context.ts'
import { formatAgo } from '../format.ts'
import { table } from '../table.ts'

export interface EnvOptions extends CommonOptions {
  readonly secret?: boolean
}

export async function envList(options: EnvOptions, { connect, terminal }: CliContext): Promise<number> {
  const { client } = await connect()
  const { items } = await client.call('listVariables', {
    query: { project: options.project, environment: options.environment, service: options.service },
  })
  if (terminal.isJson) terminal.json({ variables: items })
  if (items.length === 0) {
    terminal.print('No variables here. `shiplock env set NAME=value` sets one.')
    return EXIT_CODES.ok
  }
  const now = Date.now()
  const rows = items.map((variable) => [
    variable.name,
    `${variable.project}${variable.environment === null ? '' : `/${variable.environment}`}`,
    variable.service ?? 'all services',
    variable.secret ? 'secret' : '',
    formatAgo(variable.updatedAt, now),
  ])
  for (const line of table(['NAME', 'SCOPE', 'SERVICE', '', 'SET'], rows, terminal.colors.dim)) terminal.print(line)
  return EXIT_CODES.ok
}

/** `NAME=value`; a bare `NAME` takes the value from the environment of this command, so that it stands in no shell history. */
export async function envSet(pairs: readonly string[], options: EnvOptions, { connect, terminal, env }: CliContext): Promise<number> {
  const variables: Record<string, string> = {}
  for (const pair of pairs) {
    const at = pair.indexOf('=')
    const name = at === -1 ? pair : pair.slice(0, at)
    const value = at === -1 ? env[name] : pair.slice(at + 1)
    if (name === '' || value === undefined) {
      throw new ShiplockError('INPUT_INVALID', name === '' ? 'a variable has no name' : `${printable(name)} has no value`, {
        hint: 'Write NAME=value, or NAME alone when it is set in the environment of this command.',
      })
    }
    variables[name] = value
  }
  const { client } = await connect()
  const { items } = await client.call('setVariables', {
    body: {
      ...(options.project === undefined ? {} : { project: options.project }),
      environment: options.environment ?? null,
      service: options.service ?? null,
      secret: options.secret === true,
      variables,
    },
  })
  if (terminal.isJson) terminal.json({ variables: items })
  for (const variable of items) terminal.print(`${terminal.colors.green('✔')} ${variable.name} set; it counts from the next deployment on`)
  return EXIT_CODES.ok
}

export async function envUnset(names: readonly string[], options: EnvOptions, { connect, terminal }: CliContext): Promise<number> {
  const { client } = await connect()
  const query = { project: options.project, environment: options.environment, service: options.service }
  for (const name of names) {
    await client.call('unsetVariable', { params: { name }, query })
    terminal.print(`${terminal.colors.green('✔')} ${printable(name)} removed; that counts from the next deployment on`)
  }
  if (terminal.isJson) terminal.json({ removed: names })
  return EXIT_CODES.ok
}
