import { isIP } from 'node:net'
import type { SettingDefinition } from './setting-definition.ts'
import { type Parsed, parseDomain, wholeNumber } from './setting-parsers.ts'

/** What the server's owner decides about who reaches the API, and how often. */
export interface AccessSettings {
  /** Host names under which the API may be called, beside localhost and addresses. */
  readonly apiHosts: readonly string[]
  /** Addresses and networks of proxies before the API, whose X-Forwarded-For is believed. */
  readonly trustedProxies: readonly string[]
  /** Of one token. */
  readonly apiRequestsPerMinute: number
}

export const ACCESS_SETTING_DEFINITIONS: { readonly [Key in keyof AccessSettings]: SettingDefinition<AccessSettings[Key]> } = {
  apiHosts: {
    variable: 'SHIPLOCK_API_HOSTS',
    about: 'Host names under which the API is called, commas between them. `localhost` and addresses always do.',
    example: 'deploy.example.com',
    defaultText: 'none',
    parse: parseHosts,
    default: () => [],
  },
  trustedProxies: {
    variable: 'SHIPLOCK_TRUSTED_PROXIES',
    about:
      'Addresses or networks of proxies before the API, commas between them. Only what these say about a client in `X-Forwarded-For` is believed.',
    example: '127.0.0.1,10.0.0.0/8',
    defaultText: 'none',
    parse: parseNetworks,
    default: () => [],
  },
  apiRequestsPerMinute: {
    variable: 'SHIPLOCK_API_RATE',
    about: 'Requests that one token may make in a minute. More are answered with 429 and `Retry-After`.',
    example: '600',
    defaultText: '6000',
    parse: (text) => wholeNumber(text, 1, 1_000_000),
    default: () => 6000,
  },
}

function parseHosts(text: string): Parsed<readonly string[]> {
  const hosts: string[] = []
  for (const entry of entriesOf(text)) {
    const parsed = parseDomain(entry)
    if ('problem' in parsed) return parsed
    hosts.push(parsed.value)
  }
  return { value: hosts }
}

function parseNetworks(text: string): Parsed<readonly string[]> {
  const networks = entriesOf(text)
  return networks.every(isNetwork) ? { value: networks } : { problem: 'must be addresses or networks' }
}

function isNetwork(entry: string): boolean {
  const [, address = '', bits] = /^([0-9a-fA-F.:]+)(?:\/(\d{1,3}))?$/.exec(entry) ?? []
  const family = isIP(address)
  return family !== 0 && Number(bits ?? 0) <= (family === 4 ? 32 : 128)
}

const entriesOf = (text: string) =>
  text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')
