import { setTimeout as sleep } from 'node:timers/promises'
import type { SealingKeys } from '../../contract/secret.ts'
import { EXIT_CODES } from '../../core/errors.ts'
import type { CliContext, CommonOptions } from '../context.ts'
import { formatAgo } from '../format.ts'
import type { Terminal } from '../terminal.ts'

export interface RotateOptions extends CommonOptions {
  readonly detach?: boolean
}

const LOOK_MS = 500

/** `shiplock server rotate-key`: everything is sealed anew while the server works; Ctrl-C leaves it to it. */
export async function serverRotateKey(options: RotateOptions, { connect, terminal, signal }: CliContext): Promise<number> {
  const { client } = await connect()
  let keys = await client.call('rotateSealingKey')
  while (options.detach !== true && !signal.aborted && isUnderWay(keys)) {
    await sleep(LOOK_MS, undefined, { signal }).catch(() => {})
    keys = await client.call('getSealingKeys')
  }
  show(keys, terminal)
  return EXIT_CODES.ok
}

export async function serverKey(_options: CommonOptions, { connect, terminal }: CliContext): Promise<number> {
  const { client } = await connect()
  show(await client.call('getSealingKeys'), terminal)
  return EXIT_CODES.ok
}

function isUnderWay(keys: SealingKeys): boolean {
  return keys.keys.some((key) => key.state === 'retiring')
}

function show(keys: SealingKeys, terminal: Terminal): void {
  if (terminal.isJson) terminal.json(keys)
  const now = Date.now()
  for (const key of keys.keys) {
    const about = key.id === keys.current ? 'seals' : key.state
    terminal.print(`  ${key.id}  ${about.padEnd(8)} since ${formatAgo(key.changedAt, now)}${key.isHere ? '' : ', not on this server'}`)
  }
  if (isUnderWay(keys)) terminal.print(`${keys.remaining} values are still to be sealed with the new key; it goes on in the background`)
  else terminal.print(`${terminal.colors.green('✔')} everything is sealed with ${keys.current}`)
  const old = keys.keys.filter((key) => key.state === 'retired' && key.isHere)
  if (keys.source === 'setting' && old.length > 0) terminal.print('The old key can be taken out of SHIPLOCK_SECRET_KEY now.')
}
