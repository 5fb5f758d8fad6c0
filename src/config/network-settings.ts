import { isIP } from 'node:net'
import type { SettingDefinition } from './setting-definition.ts'
import type { Parsed } from './setting-parsers.ts'

/** What the server's owner decides about the networks of instances that are processes of this host. */
export interface NetworkSettings {
  /** `auto`, `host`, or the range of addresses to give, as `10.99.0.0/20`. */
  readonly instanceNetwork: string
  /** Project → ports of this host's loopback that its instances may reach; `*` = every project. */
  readonly hostAccess: ReadonlyMap<string, readonly number[]>
}

export const NETWORK_SETTING_DEFINITIONS: { readonly [Key in keyof NetworkSettings]: SettingDefinition<NetworkSettings[Key]> } = {
  instanceNetwork: {
    variable: 'SHIPLOCK_INSTANCE_NETWORK',
    about:
      "Networks of the process runtime's instances: `auto` (one of its own for each, where the server runs as root), `host` (they share that of the host), or the private range that addresses come from.",
    example: '10.99.0.0/20',
    defaultText: '`auto`, with a free range of 10.64.0.0/10',
    parse: parseInstanceNetwork,
    default: () => 'auto',
  },
  hostAccess: {
    variable: 'SHIPLOCK_HOST_ACCESS',
    about:
      "TCP ports of this host's loopback that instances of a project may reach, as `project=port`, commas between them; `*` = every project. They find them at 127.0.0.1, as before.",
    example: 'shop=5432,shop=6379,*=8125',
    defaultText: 'none',
    parse: parseHostAccess,
    default: () => new Map(),
  },
}

const SMALLEST_BITS = 27
const LARGEST_BITS = 16

function parseInstanceNetwork(text: string): Parsed<string> {
  const word = text.toLowerCase()
  if (word === 'auto' || word === 'host') return { value: word }
  const [address = '', digits = ''] = text.split('/')
  const bits = /^\d{1,2}$/.test(digits) ? Number(digits) : 0
  const number = isIP(address) === 4 ? address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0) : Number.NaN
  const isWhole = bits >= LARGEST_BITS && bits <= SMALLEST_BITS && number % 2 ** (32 - bits) === 0
  return isWhole ? { value: text } : { problem: `must be auto, host, or an IPv4 network of ${LARGEST_BITS} to ${SMALLEST_BITS} bits` }
}

function parseHostAccess(text: string): Parsed<ReadonlyMap<string, readonly number[]>> {
  const ports = new Map<string, readonly number[]>()
  for (const entry of text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')) {
    const [, project, digits] = /^([a-z0-9][a-z0-9-]{0,62}|\*)=(\d{1,5})$/.exec(entry) ?? []
    const port = Number(digits)
    if (project === undefined || port < 1 || port > 65_535)
      return { problem: `has ${JSON.stringify(entry.slice(0, 80))}, which is not project=port` }
    ports.set(project, [...(ports.get(project) ?? []), port])
  }
  return { value: ports }
}
