import type { Environment } from '../config/settings.ts'
import { ShiplockError } from '../core/errors.ts'
import { type Connection, connect } from './connection.ts'
import type { Terminal } from './terminal.ts'

/** Options that every command has. */
export interface CommonOptions {
  readonly project?: string
  readonly environment?: string
  readonly service?: string
  readonly json?: boolean
  /** Commander's reading of `--no-color`. */
  readonly color?: boolean
}

/** What a command works with. */
export interface CliContext {
  readonly terminal: Terminal
  readonly env: Environment
  readonly workingDirectory: string
  /** Aborts on the first Ctrl-C or SIGTERM. */
  readonly signal: AbortSignal
  connect(): Promise<Connection>
}

/** Of queries and bodies: only what was said on the command line; the server has the defaults. */
export function scopeOf({ project, environment }: CommonOptions): { project?: string; environment?: string } {
  return { ...(project === undefined ? {} : { project }), ...(environment === undefined ? {} : { environment }) }
}

export function createContext(terminal: Terminal, env: Environment, signal: AbortSignal): CliContext {
  return { terminal, env, signal, workingDirectory: process.cwd(), connect: () => connect(env) }
}

/** The service that is meant: the one named, or the only one there is. */
export async function requireServiceName(named: string | undefined, options: CommonOptions, { client }: Connection): Promise<string> {
  const name = named ?? options.service
  if (name !== undefined) return name
  const { items } = await client.call('listServices', { query: { ...scopeOf(options), limit: 50 } })
  const names = [...new Set(items.map((item) => item.service))]
  if (names.length === 1 && names[0] !== undefined) return names[0]
  throw new ShiplockError(
    'INPUT_INVALID',
    names.length === 0 ? 'there is no service yet' : `which service? There are ${names.join(', ')}`,
    {
      hint: names.length === 0 ? '`shiplock up DIR` deploys a first one.' : 'Name it with -s.',
    },
  )
}
