import type { SettingDefinition } from './setting-definition.ts'
import { absolutePath, duration, oneOf, type Parsed, trueOrFalse } from './setting-parsers.ts'

/** What the server's owner decides about scans. */
export interface ScanSettings {
  /** Path of Trivy; null = `trivy` on the search path. */
  readonly trivy: string | null
  readonly trivyServer: string | null
  /** Never log it (I8). */
  readonly trivyToken: string | null
  /** null = below the data directory. */
  readonly trivyCacheDirectory: string | null
  readonly trivyDbRepository: readonly string[]
  readonly trivyJavaDbRepository: readonly string[]
  readonly trivyOffline: boolean
  readonly scanTimeoutMs: number
  /** An identical artifact is not scanned again within this time. */
  readonly scanReuseMs: number
  /** What an absent or failing scanner means where a service does not say it; null = fail for images, warn for file trees. */
  readonly scanWithoutScanner: 'fail' | 'warn' | null
}

export const SCAN_SETTING_DEFINITIONS: { readonly [Key in keyof ScanSettings]: SettingDefinition<ScanSettings[Key]> } = {
  trivy: {
    variable: 'SHIPLOCK_TRIVY',
    about: 'The Trivy program that scans what is deployed.',
    example: '/opt/trivy/trivy',
    defaultText: '`trivy` on the PATH, if it is there',
    parse: absolutePath,
    default: () => null,
  },
  trivyServer: {
    variable: 'SHIPLOCK_TRIVY_SERVER',
    about: 'Trivy server (`trivy server`) that keeps the databases; Trivy must be on this host too.',
    example: 'http://127.0.0.1:4954',
    defaultText: 'none',
    parse: parseHttpUrl,
    default: () => null,
  },
  trivyToken: {
    variable: 'SHIPLOCK_TRIVY_TOKEN',
    about: 'Token of that Trivy server.',
    example: 'a-long-random-word',
    defaultText: 'none',
    isSecret: true,
    parse: (text) => (/^[\x21-\x7e]{1,512}$/.test(text) ? { value: text } : { problem: 'must be one word of printable characters' }),
    default: () => null,
  },
  trivyCacheDirectory: {
    variable: 'SHIPLOCK_TRIVY_CACHE_DIR',
    about: "Directory for Trivy's databases and layer cache. Servers of one host may share it: they take turns.",
    example: '/var/cache/trivy',
    defaultText: '`trivy` in the data directory',
    parse: absolutePath,
    default: () => null,
  },
  trivyDbRepository: {
    variable: 'SHIPLOCK_TRIVY_DB_REPOSITORY',
    about: 'Where the vulnerability database is fetched from, in order, commas between.',
    example: 'registry.example.com/aquasec/trivy-db:2',
    defaultText: "Trivy's own",
    parse: parseRepositories,
    default: () => [],
  },
  trivyJavaDbRepository: {
    variable: 'SHIPLOCK_TRIVY_JAVA_DB_REPOSITORY',
    about: 'The same for the index of Java archives.',
    example: 'registry.example.com/aquasec/trivy-java-db:1',
    defaultText: "Trivy's own",
    parse: parseRepositories,
    default: () => [],
  },
  trivyOffline: {
    variable: 'SHIPLOCK_TRIVY_OFFLINE',
    about: 'Fetch nothing for a scan; the databases are put into the cache directory by other means.',
    example: 'true',
    defaultText: '`false`',
    parse: trueOrFalse,
    default: () => false,
  },
  scanTimeoutMs: {
    variable: 'SHIPLOCK_SCAN_TIMEOUT',
    about: 'Longest time of one scan with all its runs, the first fetch of the database included.',
    example: '15m',
    defaultText: '10m',
    parse: (text) => duration(text, 1000, 3_600_000),
    default: () => 10 * 60_000,
  },
  scanReuseMs: {
    variable: 'SHIPLOCK_SCAN_REUSE',
    about: 'How long the scan of an artifact holds for an identical one; 0s = scan every time.',
    example: '6h',
    defaultText: '24h',
    parse: (text) => duration(text, 0, 30 * 24 * 3_600_000),
    default: () => 24 * 3_600_000,
  },
  scanWithoutScanner: {
    variable: 'SHIPLOCK_SCAN_WITHOUT_SCANNER',
    about: 'What happens where nothing can be scanned and the service does not say it (`scan.onScannerFailure`): fail or warn.',
    example: 'warn',
    defaultText: '`fail` for images, `warn` for file trees',
    parse: (text) => oneOf(text, ['fail', 'warn'] as const),
    default: () => null,
  },
}

/** Without user and password: it stands on command lines and in messages. */
function parseHttpUrl(text: string): Parsed<string> {
  const url = URL.canParse(text) ? new URL(text) : null
  if (url === null || !['http:', 'https:'].includes(url.protocol) || url.username !== '' || url.password !== '')
    return { problem: 'must be an http or https URL without user and password' }
  return { value: text }
}

function parseRepositories(text: string): Parsed<readonly string[]> {
  const repositories = text.split(',').map((part) => part.trim())
  const wrong = repositories.find((repository) => !/^[a-zA-Z0-9][\w.:/-]{0,254}(@sha256:[0-9a-f]{64})?$/.test(repository))
  return wrong === undefined
    ? { value: repositories }
    : { problem: `has ${JSON.stringify(wrong.slice(0, 80))}, which is no OCI repository` }
}
