import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { effectsOf } from '../../config/variable-effects.ts'
import { escapeReferences } from '../../config/variables.ts'
import type { Variable } from '../../contract/server.ts'
import { decodeExactly } from '../../core/decode-exactly.ts'
import { EXIT_CODES, ShiplockError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import { printable } from '../../core/printable.ts'
import type { Client } from '../client.ts'
import type { CliContext, CommonOptions } from '../context.ts'
import { parseDotenv } from '../dotenv.ts'
import { formatAgo } from '../format.ts'
import { table } from '../table.ts'
import type { Terminal } from '../terminal.ts'

export interface EnvOptions extends CommonOptions {
  readonly forPreviews?: boolean
  readonly secret?: boolean
  /** `secret set`: take the value from this file. */
  readonly file?: string
  /** `secret set`: take the value from the environment of this command. */
  readonly fromEnv?: boolean
  /** `${NAME}` in a value is that text, not a reference. */
  readonly literal?: boolean
  /** `env list`: with the values of plain variables. */
  readonly show?: boolean
}

/** The API takes so many in one request. */
const VARIABLES_PER_CALL = 200

/** With `secret` only those. */
export async function envList(options: EnvOptions, { connect, terminal }: CliContext): Promise<number> {
  const { client } = await connect()
  const { project, environment, service } = options
  if (options.show === true) return showValues(options, client, terminal)
  const page = await client.call('listVariables', { query: { project, environment, service } })
  const items = page.items.filter((one) => options.secret !== true || one.secret)
  if (terminal.isJson) terminal.json({ variables: items })
  if (items.length === 0) {
    const [what, command] = options.secret === true ? ['secrets', 'secret set NAME'] : ['variables', 'env set NAME=value']
    terminal.print(`No ${what} here. \`${terminal.program} ${command}\` sets one.`)
    return EXIT_CODES.ok
  }
  const now = Date.now()
  // For one service in one environment it is clear which of several wins.
  const winners = environment === undefined || service === undefined ? null : winnersOf(page.items)
  const rows = items.map((variable) => [
    variable.name,
    `${variable.project}${variable.environment === null ? '' : `/${variable.environment}`}`,
    variable.service ?? 'all services',
    variable.secret ? 'secret' : '',
    variable.fingerprint ?? '',
    `${formatAgo(variable.updatedAt, now)}${variable.setBy === null ? '' : ` by ${printable(variable.setBy)}`}`,
    winners === null || winners.get(variable.name) === variable ? '' : 'overridden',
  ])
  for (const line of table(['NAME', 'SCOPE', 'SERVICE', '', 'FINGERPRINT', 'SET', ''], rows, terminal.colors.dim)) terminal.print(line)
  return EXIT_CODES.ok
}

async function showValues({ project, environment, service }: EnvOptions, client: Client, terminal: Terminal): Promise<number> {
  const { items } = await client.call('showVariables', { query: { project, environment, service } })
  if (terminal.isJson) terminal.json({ variables: items })
  const rows = items.map((one) => [
    one.name,
    `${one.project}${one.environment === null ? '' : `/${one.environment}`}`,
    one.service ?? 'all services',
    one.value === null ? terminal.colors.dim('secret') : printable(one.value),
  ])
  for (const line of table(['NAME', 'SCOPE', 'SERVICE', 'VALUE'], rows, terminal.colors.dim)) terminal.print(line)
  return EXIT_CODES.ok
}

/** project < environment < service, and within a service the one for an environment. */
function winnersOf(items: readonly Variable[]): ReadonlyMap<string, Variable> {
  const rank = (one: Variable) => (one.service === null ? 0 : 2) + (one.environment === null ? 0 : 1)
  const winners = new Map<string, Variable>()
  for (const one of items) {
    const best = winners.get(one.name)
    if (best === undefined || rank(one) > rank(best)) winners.set(one.name, one)
  }
  return winners
}

/** `NAME=value`; a bare `NAME` takes the value from the environment of this command, so that it stands in no shell history. */
export async function envSet(pairs: readonly string[], options: EnvOptions, context: CliContext): Promise<number> {
  const variables = new Map<string, string>()
  for (const pair of pairs) {
    const at = pair.indexOf('=')
    const name = at === -1 ? pair : pair.slice(0, at)
    const value = at === -1 ? context.env[name] : pair.slice(at + 1)
    if (name === '' || value === undefined) {
      throw new ShiplockError('INPUT_INVALID', name === '' ? 'a variable has no name' : `${printable(name)} has no value`, {
        hint: 'Write NAME=value, or NAME alone when it is set in the environment of this command.',
      })
    }
    variables.set(name, value)
  }
  return save(variables, options, context)
}

/** The value comes from a file, the environment, a pipe or a question: never from the command line, which others can read. */
export async function secretSet(names: readonly string[], options: EnvOptions, context: CliContext): Promise<number> {
  const variables = new Map<string, string>()
  for (const name of names) {
    if (name.includes('=')) {
      throw new ShiplockError(
        'INPUT_INVALID',
        'a secret does not belong on the command line: it would stand in the process list and in the shell’s history',
        {
          hint: 'Give the name alone and the value through a pipe, --file, --from-env or the question; rotate the one that was just typed.',
        },
      )
    }
    variables.set(name, await secretValue(name, names.length, options, context))
  }
  return save(variables, { ...options, secret: true }, context)
}

async function secretValue(
  name: string,
  count: number,
  options: EnvOptions,
  { env, terminal, signal, workingDirectory }: CliContext,
): Promise<string> {
  if (options.fromEnv === true) {
    const value = env[name]
    if (value === undefined) throw new ShiplockError('INPUT_INVALID', `${printable(name)} is not set in the environment of this command`)
    return value
  }
  if (count > 1 && (options.file !== undefined || !terminal.canAsk)) {
    throw new ShiplockError('INPUT_INVALID', 'one file or pipe holds one value', {
      hint: 'Set them one by one, or use `secret import` with a .env file.',
    })
  }
  const text =
    options.file === undefined
      ? await terminal.readSecret(`${printable(name)}: `, signal)
      : await readText(resolve(workingDirectory, options.file), options.file)
  // What `echo` or a file's end adds to one line is not meant; what has several, or stands in a file that was named, is taken byte by byte.
  const value = options.file === undefined && /^[^\n]*\n$/.test(text) ? text.replace(/\r?\n$/, '') : text
  if (options.file !== undefined && /^[^\n]+\n$/.test(text))
    terminal.error(`${terminal.colors.yellow('!')} ${printable(name)} ends with a line break, as ${printable(options.file)} does`)
  if (value === '') throw new ShiplockError('INPUT_INVALID', `no value was given for ${printable(name)}`)
  return value
}

/** Every assignment of a .env file; `-` reads it from a pipe. */
export async function envImport(file: string, options: EnvOptions, context: CliContext): Promise<number> {
  const { terminal, signal, workingDirectory } = context
  const text = file === '-' ? await terminal.readSecret('', signal) : await readText(resolve(workingDirectory, file), file)
  const { values, leftOut } = parseDotenv(text, file)
  for (const line of leftOut) terminal.error(`${terminal.colors.yellow('!')} left out: ${line}`)
  if (values.size === 0) throw new ShiplockError('INPUT_INVALID', `${printable(file)} sets nothing`)
  return save(values, options, context)
}

async function readText(path: string, named: string): Promise<string> {
  const bytes = await readFile(path).catch((error: unknown) => {
    throw new ShiplockError('INPUT_INVALID', `${printable(named)} can't be read: ${(error as NodeJS.ErrnoException).code}`, {
      cause: error,
    })
  })
  if (bytes.length > LIMITS.dotenvBytes)
    throw new ShiplockError('INPUT_INVALID', `${printable(named)} is larger than ${LIMITS.dotenvBytes} bytes`)
  return decodeExactly(bytes, printable(named))
}

async function save(variables: ReadonlyMap<string, string>, options: EnvOptions, { connect, terminal }: CliContext): Promise<number> {
  const { client } = await connect()
  const { project, environment = null, service = null } = options
  const scope = {
    ...(project === undefined ? {} : { project }),
    environment,
    service,
    secret: options.secret === true,
    ...(options.forPreviews === true ? { forPreviews: true } : {}),
  }
  const pairs = [...variables].map(([name, value]) => [name, options.literal === true ? escapeReferences(value) : value] as const)
  const items: Variable[] = []
  for (let at = 0; at < pairs.length; at += VARIABLES_PER_CALL) {
    const body = { ...scope, variables: Object.fromEntries(pairs.slice(at, at + VARIABLES_PER_CALL)) }
    items.push(...(await client.call('setVariables', { body })).items)
  }
  if (terminal.isJson) terminal.json({ variables: items })
  for (const variable of items) terminal.print(`${terminal.colors.green('✔')} ${variable.name} set; it counts from the next deployment on`)
  warnOfShort(items, terminal)
  for (const effect of effectsOf(pairs)) terminal.error(`${terminal.colors.yellow('!')} ${effect}`)
  return EXIT_CODES.ok
}

/** Hiding a short value would turn ordinary words into stars. */
function warnOfShort(items: readonly Variable[], terminal: Terminal): void {
  const names = items.filter((one) => one.secret && !one.redacted).map((one) => one.name)
  if (names.length === 0) return
  terminal.error(
    `${terminal.colors.yellow('!')} too short to be hidden in logs: ${names.join(', ')}. A secret should have 12 characters or more.`,
  )
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
