import type { DeployKey } from '../../contract/secret.ts'
import { EXIT_CODES, ShiplockError } from '../../core/errors.ts'
import { printable } from '../../core/printable.ts'
import { type CliContext, type CommonOptions, requireServiceName } from '../context.ts'
import type { Terminal } from '../terminal.ts'

export interface DeployKeyOptions extends CommonOptions {
  readonly replace?: boolean
  /** Fingerprints that were compared already: only keys with these are pinned, and nobody is asked. */
  readonly fingerprint?: readonly string[]
}

export async function deployKeyCreate(options: DeployKeyOptions, { connect, terminal }: CliContext): Promise<number> {
  const connection = await connect()
  const service = await requireServiceName(undefined, options, connection)
  const query = { project: options.project, replace: options.replace === true }
  const key = await connection.client.call('createDeployKey', { params: { service }, query })
  show(key, terminal)
  terminal.print('')
  terminal.print('Add the public key at the git host as a read-only deploy key of the repository.')
  if (key.hostKeys.length === 0)
    terminal.print(
      `Then pin the host: \`${terminal.program} deploy-key pin HOST -s ${service}\`; nothing is fetched from a host that is not pinned.`,
    )
  return EXIT_CODES.ok
}

export async function deployKeyShow(options: CommonOptions, { connect, terminal }: CliContext): Promise<number> {
  const connection = await connect()
  const service = await requireServiceName(undefined, options, connection)
  show(await connection.client.call('getDeployKey', { params: { service }, query: { project: options.project } }), terminal)
  return EXIT_CODES.ok
}

export async function deployKeyRemove(options: CommonOptions, { connect, terminal }: CliContext): Promise<number> {
  const connection = await connect()
  const service = await requireServiceName(undefined, options, connection)
  await connection.client.call('removeDeployKey', { params: { service }, query: { project: options.project } })
  if (terminal.isJson) terminal.json({ removed: service })
  terminal.print(`${terminal.colors.green('✔')} the deploy key of ${service} is gone; remove its public part at the git host too`)
  return EXIT_CODES.ok
}

/** Shows the keys of a host, lets a person compare them, and pins them. Those of other hosts stay. */
export async function deployKeyPin(given: string | undefined, options: DeployKeyOptions, context: CliContext): Promise<number> {
  const { terminal, signal } = context
  const connection = await context.connect()
  const { client } = connection
  const service = await requireServiceName(undefined, options, connection)
  const params = { service }
  const query = { project: options.project }
  const { host, keys } = await client.call('seeHostKeys', { params, query: { ...query, host: given } })
  for (const key of keys) terminal.print(`  ${key.type.padEnd(20)} ${key.fingerprint}`)
  const chosen = options.fingerprint === undefined ? keys : keys.filter((key) => options.fingerprint?.includes(key.fingerprint))
  if (chosen.length === 0) {
    throw new ShiplockError('CONFLICT', `${host} shows no key with that fingerprint`, {
      hint: 'Somebody may be in between, or the host has a new key. Compare with what the host publishes.',
      details: { host, shown: keys.map((key) => key.fingerprint) },
    })
  }
  if (
    options.fingerprint === undefined &&
    !(terminal.canAsk && (await terminal.confirm(`Are these the keys that ${host} publishes?`, signal)))
  ) {
    throw new ShiplockError('INPUT_INVALID', 'nothing was pinned', {
      hint: 'Compare the fingerprints with what the host publishes, and name them: --fingerprint SHA256:…',
    })
  }
  const before = await client.call('getDeployKey', { params, query })
  const replaced = new Set(keys.map((key) => key.line.split(' ')[0]))
  const kept = before.hostKeys.map((key) => key.line).filter((line) => !replaced.has(line.split(' ')[0]))
  const key = await client.call('pinHostKeys', { params, query, body: { lines: [...kept, ...chosen.map(({ line }) => line)] } })
  if (terminal.isJson) terminal.json(key)
  terminal.print(`${terminal.colors.green('✔')} ${host} is pinned for ${service}: another key will be refused`)
  return EXIT_CODES.ok
}

function show(key: DeployKey, terminal: Terminal): void {
  if (terminal.isJson) terminal.json(key)
  terminal.print(printable(key.publicKey))
  terminal.print(terminal.colors.dim(`${key.fingerprint}, for ${key.service} of ${key.project}`))
  for (const host of key.hostKeys)
    terminal.print(terminal.colors.dim(`pinned: ${host.line.split(' ')[0]} ${host.type} ${host.fingerprint}`))
}
