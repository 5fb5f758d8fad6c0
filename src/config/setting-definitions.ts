import { join } from 'node:path'
import { parseKeys } from '../core/key-file.ts'
import { LIMITS } from '../core/limits.ts'
import type { LogLevel } from '../core/log.ts'
import { ACCESS_SETTING_DEFINITIONS, type AccessSettings } from './access-settings.ts'
import { CONTAINER_SETTING_DEFINITIONS, type ContainerSettings } from './container-settings.ts'
import { DISK_SETTING_DEFINITIONS, type DiskSettings } from './disk-settings.ts'
import { EDGE_SETTING_DEFINITIONS, type EdgeSettings } from './edge-settings.ts'
import { HOOK_SETTING_DEFINITIONS, type HookSettings } from './hook-settings.ts'
import type { ListenAddress } from './listen-address.ts'
import { NETWORK_SETTING_DEFINITIONS, type NetworkSettings } from './network-settings.ts'
import { REGISTRY_SETTING_DEFINITIONS, type RegistrySettings } from './registry-settings.ts'
import { SCAN_SETTING_DEFINITIONS, type ScanSettings } from './scan-settings.ts'
import type { SettingDefinition } from './setting-definition.ts'
import { absolutePath, duration, listenAddress, oneOf, type Parsed, parseDomain, wholeNumber } from './setting-parsers.ts'
import { SOURCE_SETTING_DEFINITIONS, type SourceSettings } from './source-settings.ts'

/** Everything about a server that its owner decides. Complete and frozen; nobody below reads the environment. */
export interface Settings
  extends AccessSettings,
    ScanSettings,
    ContainerSettings,
    NetworkSettings,
    HookSettings,
    SourceSettings,
    DiskSettings,
    RegistrySettings,
    EdgeSettings {
  /** PostgreSQL to use; null = the embedded one. Holds a password: never log it (I8). */
  readonly databaseUrl: string | null
  readonly dataDirectory: string
  /** Keys for the secrets in the database, the first one seals; null = the key file. Never log it (I8). */
  readonly secretKey: string | null
  /** null = `secret-key` in the data directory. */
  readonly secretKeyFile: string | null
  /** What servers on one host share; null = found out at the start. */
  readonly nodeDirectory: string | null
  /** Deployments in progress at once, across all servers that share the database. */
  readonly maxConcurrentBuilds: number
  /** Bounds fetch to verify. */
  readonly buildTimeoutMs: number
  /** A service gets the host name `<service>.<domain>`. */
  readonly domain: string
  readonly apiListen: ListenAddress
  readonly edgeListen: ListenAddress
  readonly edgeWorkers: number
  /** Of one build, where the host can hold it to that; null = no limit. */
  readonly buildCpus: number | null
  /** null = the builder's own default. */
  readonly buildMemoryMb: number | null
  readonly buildDiskMb: number
  /** Build caches of all services together. */
  readonly buildCacheMb: number
  /** Base as written in a recipe → image, or directory of this host. */
  readonly bases: ReadonlyMap<string, string>
  readonly runtime: RuntimeName
  /** Where programs of this host are looked for. */
  readonly searchPath: string
  readonly logLevel: LogLevel
  /** Crash point to arm; for the tests of this project only. */
  readonly crashAt: string | null
}

const RUNTIME_NAMES = ['auto', 'process', 'docker'] as const
type RuntimeName = (typeof RUNTIME_NAMES)[number]
const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const satisfies readonly LogLevel[]

type Definitions = { readonly [Key in keyof Settings]: SettingDefinition<Settings[Key]> }

/** In an order in which a default may look at the settings above it. */
export const SETTING_DEFINITIONS: Definitions = {
  databaseUrl: {
    variable: 'DATABASE_URL',
    about: 'PostgreSQL to keep everything in. Without it the server runs its own in the data directory.',
    example: 'postgres://shiplock@db.internal/shiplock',
    defaultText: 'embedded PostgreSQL',
    isSecret: true,
    parse: parseDatabaseUrl,
    default: () => null,
  },
  dataDirectory: {
    variable: 'SHIPLOCK_DATA_DIR',
    about:
      'Where artifacts, logs, the embedded database and the edge table are kept. One server per directory; see docs/servers.md for several.',
    example: '/var/lib/shiplock',
    defaultText: '`/var/lib/shiplock` as root, otherwise `$XDG_DATA_HOME/shiplock` or `~/.local/share/shiplock`',
    parse: absolutePath,
    default: (host) =>
      host.isRoot ? '/var/lib/shiplock' : join(host.xdgDataHome ?? join(host.homeDirectory, '.local', 'share'), 'shiplock'),
  },
  secretKey: {
    variable: 'SHIPLOCK_SECRET_KEY',
    about: 'Key that secrets in the database are sealed with: 64 hex digits. Several with commas: the first one seals, all of them open.',
    example: '0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0',
    defaultText: 'the key file',
    isSecret: true,
    parse: (text) =>
      parseKeys(text) === null ? { problem: 'must be a key of 64 hex digits, or several with commas between them' } : { value: text },
    default: () => null,
  },
  secretKeyFile: {
    variable: 'SHIPLOCK_SECRET_KEY_FILE',
    about: 'File with that key, a line each if there are several; made when missing. Only its owner may read it (mode 0600).',
    example: '/etc/shiplock/secret-key',
    defaultText: '`secret-key` in the data directory',
    parse: absolutePath,
    default: () => null,
  },
  nodeDirectory: {
    variable: 'SHIPLOCK_NODE_DIR',
    about: 'Where instances, artifacts and the edge are kept that several servers of one database share. All of them must see it.',
    example: '/var/lib/shiplock',
    defaultText: 'the data directory of the first server of that database on this host',
    parse: absolutePath,
    default: () => null,
  },
  maxConcurrentBuilds: {
    variable: 'MAX_CONCURRENT_BUILDS',
    about: 'Deployments in progress at once, across all servers that share the database.',
    example: '4',
    defaultText: '2',
    parse: (text) => wholeNumber(text, 1, 100),
    default: () => 2,
  },
  buildTimeoutMs: {
    variable: 'BUILD_TIMEOUT',
    about: 'Longest time from fetch to verify. A build alone never takes more than 60m.',
    example: '30m',
    defaultText: '15m',
    parse: (text) => duration(text, 1000, 24 * 3_600_000),
    default: () => 15 * 60_000,
  },
  domain: {
    variable: 'SHIPLOCK_DOMAIN',
    about: 'Services answer at `<service>.<domain>`. Names below `localhost` reach this machine without DNS.',
    example: 'apps.example.com',
    defaultText: '`localhost`',
    parse: parseDomain,
    default: () => 'localhost',
  },
  apiListen: {
    variable: 'SHIPLOCK_API_LISTEN',
    about: 'Where the API listens.',
    example: '127.0.0.1:4700',
    defaultText: '`127.0.0.1:4700`',
    parse: listenAddress,
    default: () => ({ host: '127.0.0.1', port: 4700 }),
  },
  ...ACCESS_SETTING_DEFINITIONS,
  edgeListen: {
    variable: 'SHIPLOCK_EDGE_LISTEN',
    about: 'Where the apps are reached. `0.0.0.0:80` opens them to the network.',
    example: '0.0.0.0:80',
    defaultText: '`127.0.0.1:8080`',
    parse: listenAddress,
    default: () => ({ host: '127.0.0.1', port: 8080 }),
  },
  edgeWorkers: {
    variable: 'SHIPLOCK_EDGE_WORKERS',
    about: 'Processes that proxy requests. They share the listener and one table.',
    example: '2',
    defaultText: 'half of the cores, 1 to 4',
    parse: (text) => wholeNumber(text, 1, LIMITS.edgeWorkers),
    default: (host) => Math.min(4, Math.max(1, Math.floor(host.cores / 2))),
  },
  buildCpus: {
    variable: 'SHIPLOCK_BUILD_CPUS',
    about: 'Cores that one build may use, where the host has cgroups.',
    example: '2',
    defaultText: 'no limit, but builds give way to what serves',
    parse: (text) => wholeNumber(text, 1, LIMITS.buildCpus),
    default: () => null,
  },
  buildMemoryMb: {
    variable: 'SHIPLOCK_BUILD_MEMORY_MB',
    about: 'Memory that one build may use, in MiB, where the host has cgroups.',
    example: '2048',
    defaultText: "three quarters of the host's memory",
    parse: (text) => wholeNumber(text, 64, 1_048_576),
    default: () => null,
  },
  buildDiskMb: {
    variable: 'SHIPLOCK_BUILD_DISK_MB',
    about: 'What one build may write, in MiB. A build that writes more is stopped.',
    example: '20480',
    defaultText: String(LIMITS.buildDiskBytes / 1024 ** 2),
    parse: (text) => wholeNumber(text, 64, 16_777_216),
    default: () => LIMITS.buildDiskBytes / 1024 ** 2,
  },
  buildCacheMb: {
    variable: 'SHIPLOCK_BUILD_CACHE_MB',
    about: 'Size of the build caches of all services together, in MiB. What was used longest ago is dropped first.',
    example: '20480',
    defaultText: String(LIMITS.buildCacheBytes / 1024 ** 2),
    parse: (text) => wholeNumber(text, 0, 16_777_216),
    default: () => LIMITS.buildCacheBytes / 1024 ** 2,
  },
  bases: {
    variable: 'SHIPLOCK_BASES',
    about: 'Overrides of the table of bases in docs/builds.md: `base=image` or `base=/directory` with a `bin` in it, commas between them.',
    example: 'nodejs@22=/opt/node-22,python=registry.example.com/python:3.12',
    defaultText: 'none',
    parse: parseBases,
    default: () => new Map(),
  },
  runtime: {
    variable: 'SHIPLOCK_RUNTIME',
    about: 'What runs the instances: `process` (file trees), `docker` (containers), or `auto`: each kind of artifact where it fits.',
    example: 'process',
    defaultText: '`auto`: file trees as processes, images as containers where an engine is reachable',
    parse: (text) => oneOf(text, RUNTIME_NAMES),
    default: () => 'auto',
  },
  ...NETWORK_SETTING_DEFINITIONS,
  ...CONTAINER_SETTING_DEFINITIONS,
  ...DISK_SETTING_DEFINITIONS,
  ...REGISTRY_SETTING_DEFINITIONS,
  ...EDGE_SETTING_DEFINITIONS,
  ...SCAN_SETTING_DEFINITIONS,
  ...HOOK_SETTING_DEFINITIONS,
  ...SOURCE_SETTING_DEFINITIONS,
  searchPath: {
    variable: 'PATH',
    about: 'Where programs of this host are looked for.',
    example: '/usr/local/bin:/usr/bin:/bin',
    defaultText: 'the usual directories',
    isInternal: true,
    parse: (text) => ({ value: text }),
    default: () => '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  },
  logLevel: {
    variable: 'SHIPLOCK_LOG_LEVEL',
    about: "The server's own log on stderr: debug, info, warn, error or silent.",
    example: 'debug',
    defaultText: '`info`',
    parse: (text) => oneOf(text, LOG_LEVELS),
    default: () => 'info',
  },
  crashAt: {
    variable: 'SHIPLOCK_CRASH_AT',
    about: 'Crash point to arm, for the crash tests.',
    example: 'swap.recorded@2',
    defaultText: 'none',
    isInternal: true,
    parse: (text) =>
      /^[a-z]+(?:[.-][a-z]+)*(?:@[1-9]\d{0,5})?$/.test(text) ? { value: text } : { problem: 'must be a crash point, or `point@n`' },
    default: () => null,
  },
}

function parseDatabaseUrl(text: string): Parsed<string> {
  const url = URL.canParse(text) ? new URL(text) : null
  if (url === null || !['postgres:', 'postgresql:'].includes(url.protocol)) return { problem: 'must be a postgres:// URL' }
  return { value: text }
}

function parseBases(text: string): Parsed<ReadonlyMap<string, string>> {
  const bases = new Map<string, string>()
  for (const entry of text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')) {
    const [, base, meaning] = /^([A-Za-z][\w@:.-]{0,80})=([\w./:@-]{1,500})$/.exec(entry) ?? []
    if (base === undefined || meaning === undefined)
      return { problem: `has ${JSON.stringify(entry.slice(0, 80))}, which is not base=image or base=/directory` }
    bases.set(base, meaning)
  }
  return { value: bases }
}
