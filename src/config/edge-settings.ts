import { LIMITS } from '../core/limits.ts'
import type { ListenAddress } from './listen-address.ts'
import type { SettingDefinition } from './setting-definition.ts'
import { duration, listenAddress, oneOf, type Parsed, trueOrFalse } from './setting-parsers.ts'

const EDGES = ['embedded', 'traefik'] as const

/** What takes the requests of the world. */
export interface EdgeSettings {
  readonly edge: (typeof EDGES)[number]
  /** How the world reaches a proxy that stands before the edge; null = nothing stands there, and nobody is believed about a request's scheme. */
  readonly edgeFront: { readonly isTls: boolean; readonly port: number } | null
  /** How long an application may be silent: from the last byte of a request to the first of its answer. */
  readonly responseTimeoutMs: number
  /** Apps may set cookies for the domain that all of them share. */
  readonly sharedCookies: boolean
  /** Where Traefik asks for its configuration. */
  readonly traefikListen: ListenAddress
  /** Where Traefik takes requests; null = it can't be reached from here. */
  readonly traefikEntry: TraefikAddress | null
  /** Where Traefik reaches the embedded edge; null = at its listener. */
  readonly traefikInner: string | null
  /** Where what Traefik was told is kept for its file provider; null = nowhere. */
  readonly traefikFile: string | null
  readonly traefikEntryPoints: readonly string[]
  readonly traefikCertResolver: string | null
  /** Containers get Traefik's labels and join this network; null = they don't. */
  readonly traefikNetwork: string | null
}

export interface TraefikAddress {
  readonly isTls: boolean
  readonly host: string
  readonly port: number
}

export const EDGE_SETTING_DEFINITIONS: { readonly [Key in keyof EdgeSettings]: SettingDefinition<EdgeSettings[Key]> } = {
  edge: {
    variable: 'SHIPLOCK_EDGE',
    about:
      'What stands in front: `embedded` alone, or `traefik` with the embedded edge behind it. A change takes effect after `shiplock server stop --all`.',
    example: 'traefik',
    defaultText: '`embedded`',
    parse: (text) => oneOf(text, EDGES),
    default: () => 'embedded',
  },
  edgeFront: {
    variable: 'SHIPLOCK_EDGE_FRONT',
    about:
      'Scheme, and port if it is another than usual, of a proxy that stands before the edge. Services are shown at it, and what it says in `X-Forwarded-Proto` is believed: let nobody else reach SHIPLOCK_EDGE_LISTEN. A change takes effect after `shiplock server stop --all`.',
    example: 'https',
    defaultText: 'none',
    parse: parseFront,
    default: () => null,
  },
  responseTimeoutMs: {
    variable: 'SHIPLOCK_RESPONSE_TIMEOUT',
    about:
      'How long an application may take from the last byte of a request to the first of its answer; then 504. While a request still comes, so long may pass between two of its bytes. A change takes effect after `shiplock server stop --all`.',
    example: '10m',
    defaultText: '2m',
    parse: (text) => duration(text, 1000, 3_600_000),
    default: () => LIMITS.upstreamResponseMs,
  },
  sharedCookies: {
    variable: 'SHIPLOCK_SHARED_COOKIES',
    about:
      'Whether apps may set cookies with `Domain=` SHIPLOCK_DOMAIN or above it, which every other app of the server is then sent: for servers whose projects all trust each other. A change takes effect after `shiplock server stop --all`.',
    example: 'true',
    defaultText: '`false`: such a cookie stays with the host that set it',
    parse: trueOrFalse,
    default: () => false,
  },
  traefikListen: {
    variable: 'SHIPLOCK_TRAEFIK_LISTEN',
    about: "Where Traefik's HTTP provider asks, at `/traefik/dynamic.json`, with the token in `traefik-token` of the data directory.",
    example: '172.17.0.1:4702',
    defaultText: '`127.0.0.1:4702`',
    parse: listenAddress,
    default: () => ({ host: '127.0.0.1', port: 4702 }),
  },
  traefikCertResolver: {
    variable: 'SHIPLOCK_TRAEFIK_CERT_RESOLVER',
    about: "Name of the certificate resolver in Traefik's configuration; with it services answer by HTTPS.",
    example: 'letsencrypt',
    defaultText: 'none: plain HTTP, unless the entry point says otherwise',
    parse: (text) => (NAME.test(text) ? { value: text } : { problem: 'must be a name of letters, digits, `-` and `_`' }),
    default: () => null,
  },
  traefikEntry: {
    variable: 'SHIPLOCK_TRAEFIK_ENTRY',
    about:
      'Where Traefik takes requests, for the look through it before a first swap and for the addresses that people are shown; `none` = not to be reached from here.',
    example: 'https://127.0.0.1',
    defaultText: '`https://127.0.0.1` with a certificate resolver, otherwise `http://127.0.0.1`',
    parse: parseEntry,
    default: (_host, settled) => {
      const isTls = (settled.traefikCertResolver ?? null) !== null
      return { isTls, host: '127.0.0.1', port: isTls ? 443 : 80 }
    },
  },
  traefikInner: {
    variable: 'SHIPLOCK_TRAEFIK_INNER',
    about: 'Where Traefik reaches the embedded edge, when that is not its listener (a Traefik in a container).',
    example: 'http://172.17.0.1:8080',
    defaultText: 'SHIPLOCK_EDGE_LISTEN',
    parse: parseInner,
    default: () => null,
  },
  traefikFile: {
    variable: 'SHIPLOCK_TRAEFIK_FILE',
    about:
      "File in a directory of Traefik's file provider, where what it was told last is kept: a Traefik that starts while the server is stopped finds its hosts there.",
    example: '/etc/traefik/dynamic/shiplock.yml',
    defaultText: 'none',
    parse: (text) =>
      /^\/[^\0]+\.ya?ml$/.test(text)
        ? { value: text }
        : { problem: 'must be an absolute path that ends in .yml: the file provider reads no other' },
    default: () => null,
  },
  traefikEntryPoints: {
    variable: 'SHIPLOCK_TRAEFIK_ENTRY_POINTS',
    about: 'Entry points of Traefik at which services answer, commas between.',
    example: 'websecure',
    defaultText: "Traefik's default ones",
    parse: parseNames,
    default: () => [],
  },
  traefikNetwork: {
    variable: 'SHIPLOCK_TRAEFIK_NETWORK',
    about:
      "Network of Traefik's containers. With it, instances in containers carry Traefik's labels and join it; docs/drivers.md says why the HTTP provider is better.",
    example: 'traefik',
    defaultText: 'none: no labels',
    parse: (text) => (NAME.test(text) ? { value: text } : { problem: 'must be the name of a network' }),
    default: () => null,
  },
}

const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/

function parseNames(text: string): Parsed<readonly string[]> {
  const names = text.split(',').map((name) => name.trim())
  return names.every((name) => NAME.test(name)) ? { value: names } : { problem: 'must be names with commas between' }
}

function parseUrl(text: string): URL | null {
  const url = URL.canParse(text) ? new URL(text) : null
  if (url === null || !['http:', 'https:'].includes(url.protocol) || url.username !== '' || url.password !== '') return null
  return url.pathname === '/' && url.search === '' && url.hash === '' ? url : null
}

function parseEntry(text: string): Parsed<TraefikAddress | null> {
  if (text.toLowerCase() === 'none') return { value: null }
  const url = parseUrl(text)
  if (url === null) return { problem: 'must be an http or https address without path, or none' }
  const isTls = url.protocol === 'https:'
  return { value: { isTls, host: url.hostname.replace(/^\[|\]$/g, ''), port: url.port === '' ? (isTls ? 443 : 80) : Number(url.port) } }
}

function parseFront(text: string): Parsed<{ isTls: boolean; port: number }> {
  const [, scheme, digits] = /^(https?)(?::(\d{1,5}))?$/.exec(text.toLowerCase()) ?? []
  const isTls = scheme === 'https'
  const port = digits === undefined ? (isTls ? 443 : 80) : Number(digits)
  if (scheme === undefined || port < 1 || port > 65_535)
    return { problem: 'must be http or https, with a port if it is another: https:8443' }
  return { value: { isTls, port } }
}

function parseInner(text: string): Parsed<string> {
  const url = parseUrl(text)
  return url === null || url.protocol !== 'http:' ? { problem: 'must be an http address without path' } : { value: url.origin }
}
