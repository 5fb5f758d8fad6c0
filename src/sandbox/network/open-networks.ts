import { createHash } from 'node:crypto'
import { mkdir, realpath } from 'node:fs/promises'
import { join } from 'node:path'
import type { Logger } from '../../core/log.ts'
import type { SandboxNetworks } from '../sandbox.ts'
import { parseRange } from './address-range.ts'
import { HostNetworks } from './host-networks.ts'
import { findNetworkTools } from './network-tools.ts'
import { Router } from './router.ts'

export interface NetworkOptions {
  /** That of the sandbox. */
  readonly stateDirectory: string
  /** `auto`, `host` = none of their own, or the range of their addresses. */
  readonly mode: string
  /** Project → ports of the host's loopback; `*` = every project. */
  readonly hostAccess: ReadonlyMap<string, readonly number[]>
  /** TCP ports that every member may reach at other addresses of the host. */
  readonly openPorts: readonly number[]
  readonly logger: Logger
}

/** Networks of their own for what runs in sandboxes, where this host can make them; otherwise the sentence that says why not. */
export async function openNetworks(options: NetworkOptions): Promise<SandboxNetworks> {
  await mkdir(options.stateDirectory, { recursive: true, mode: 0o711 })
  const stateDirectory = await realpath(options.stateDirectory)
  const tools = await findNetworkTools()
  if (typeof tools === 'string') return new NoNetworks(`The network is shared with the host: ${tools}.`)
  const engine = createHash('sha256').update(stateDirectory).digest('hex').slice(0, 12)
  const directory = join(stateDirectory, 'network')
  const isOn = options.mode !== 'host'
  const hostPorts = [...new Set([...options.hostAccess.values()].flat())].sort((one, other) => one - other)
  const router = new Router({ engine, directory, tools, range: parseRange(options.mode), hostPorts, openPorts: options.openPorts })
  const summary = isOn
    ? 'Each instance has a network of its own: nothing of the host and of other environments is in its reach but what SHIPLOCK_HOST_ACCESS names.'
    : 'The network is shared with the host: SHIPLOCK_INSTANCE_NETWORK is host.'
  return new HostNetworks({ engine, directory, tools, router, hostAccess: options.hostAccess, isOn, summary, logger: options.logger })
}

/** Where namespaces can't be had, everything runs in the host's network. */
class NoNetworks implements SandboxNetworks {
  readonly isOn = false
  readonly summary: string

  constructor(summary: string) {
    this.summary = summary
  }

  async obstacles(): Promise<readonly string[]> {
    return []
  }

  async open(): Promise<void> {}
  async close(): Promise<void> {}
  async end(): Promise<void> {}
  async leave(): Promise<void> {}
  async release(): Promise<void> {}

  async present(): Promise<null> {
    return null
  }

  names(): readonly string[] {
    return []
  }

  reserve(): Promise<never> {
    return Promise.reject(new Error('there are no networks here'))
  }

  join(): Promise<never> {
    return Promise.reject(new Error('there are no networks here'))
  }
}
