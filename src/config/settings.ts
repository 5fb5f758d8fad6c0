import { readFileSync } from 'node:fs'
import { availableParallelism, homedir } from 'node:os'
import { isAbsolute } from 'node:path'
import { ShiplockError } from '../core/errors.ts'
import { printable } from '../core/printable.ts'
import { deepFreeze } from './deep-freeze.ts'
import { readYaml } from './manifest/read-yaml.ts'
import { nearest } from './nearest.ts'
import type { HostFacts, SettingDefinition } from './setting-definition.ts'
import { SETTING_DEFINITIONS, type Settings } from './setting-definitions.ts'

export type { Settings } from './setting-definitions.ts'
export type Environment = Readonly<Record<string, string | undefined>>

type Key = keyof Settings
const KEYS = Object.keys(SETTING_DEFINITIONS) as Key[]

/** The same file keys everywhere: those of `Settings` without the unit (`buildTimeout: 15m`). */
export function settingFileKey(key: Key): string {
  return key.replace(/Ms$/, '')
}

export interface LoadOptions {
  /** Path of `shiplock.server.yaml`; null = environment variables only. */
  readonly file: string | null
  readonly host?: HostFacts
}

/**
 * Settings of a server: a variable wins over the file, the file over the default. Throws INPUT_INVALID that names every wrong one,
 * what is wrong and an example; values are not repeated, since one of them may be a password (I8).
 */
export function loadSettings(env: Environment, options: LoadOptions): Settings {
  const host = options.host ?? hostFacts(env)
  const fromFile = options.file === null ? new Map<Key, string>() : readSettingsFile(options.file)
  const settled: Partial<Record<Key, unknown>> = {}
  const problems: string[] = []
  for (const key of KEYS) {
    const definition = SETTING_DEFINITIONS[key] as SettingDefinition<unknown>
    const variable = env[definition.variable]?.trim()
    const isSet = variable !== undefined && variable !== ''
    const text = isSet ? variable : fromFile.get(key)
    const parsed = text === undefined ? { value: definition.default(host, settled as Partial<Settings>) } : definition.parse(text)
    if ('value' in parsed) settled[key] = parsed.value
    else
      problems.push(
        `${isSet ? definition.variable : `${options.file}: ${settingFileKey(key)}`} ${parsed.problem}, e.g. ${definition.example}`,
      )
  }
  if (problems.length > 0) throw settingsInvalid(problems)
  return deepFreeze(settled as unknown as Settings)
}

/** What the CLI needs to find a server. `url` and `token` null = the server whose data directory this is. */
export interface ClientSettings {
  readonly url: string | null
  /** Never log it (I8). */
  readonly token: string | null
  /** Where a server of this machine keeps its token. */
  readonly dataDirectory: string
}

export function clientSettings(env: Environment, host: HostFacts = hostFacts(env)): ClientSettings {
  const url = env.SHIPLOCK_URL?.trim() || null
  const token = env.SHIPLOCK_TOKEN?.trim() || null
  const directory = env.SHIPLOCK_DATA_DIR?.trim() || null
  const problems: string[] = []
  const parsed = url !== null && URL.canParse(url) ? new URL(url) : null
  if (url !== null && (parsed === null || !['http:', 'https:'].includes(parsed.protocol) || parsed.username !== '' || parsed.search !== ''))
    problems.push('SHIPLOCK_URL must be an http or https URL without user, password or query, e.g. http://127.0.0.1:4700')
  // Anything else could not be sent as a header.
  if (token !== null && !/^[\x21-\x7e]{1,512}$/.test(token)) problems.push('SHIPLOCK_TOKEN must be one word of printable characters')
  if (directory !== null && !isAbsolute(directory)) problems.push('SHIPLOCK_DATA_DIR must be an absolute path, e.g. /var/lib/shiplock')
  if (problems.length > 0) throw settingsInvalid(problems)
  const dataDirectory = directory ?? SETTING_DEFINITIONS.dataDirectory.default(host, {})
  return Object.freeze({ url: parsed === null ? null : parsed.href.replace(/\/+$/, ''), token, dataDirectory })
}

function hostFacts(env: Environment): HostFacts {
  const xdg = env.XDG_DATA_HOME
  const runtime = env.XDG_RUNTIME_DIR
  return {
    isRoot: process.getuid?.() === 0,
    homeDirectory: env.HOME !== undefined && isAbsolute(env.HOME) ? env.HOME : homedir(),
    xdgDataHome: xdg !== undefined && isAbsolute(xdg) ? xdg : null,
    xdgRuntimeDirectory: runtime !== undefined && isAbsolute(runtime) ? runtime : null,
    dockerHost: env.DOCKER_HOST?.trim() || null,
    cores: availableParallelism(),
  }
}

function readSettingsFile(file: string): ReadonlyMap<Key, string> {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    throw new ShiplockError('INPUT_INVALID', `the settings file ${printable(file)} can't be read: ${(error as Error).message}`, {
      cause: error,
    })
  }
  const { data, locate } = readYaml(text, file, new Set())
  const values = new Map<Key, string>()
  const problems: string[] = []
  const known = new Map(KEYS.filter((key) => !isInternal(key)).map((key) => [settingFileKey(key), key]))
  if (data !== null && (typeof data !== 'object' || Array.isArray(data))) problems.push(`${file} must be a map of settings`)
  else
    for (const [name, value] of Object.entries(data ?? {})) {
      const key = known.get(name)
      const at = `${file}:${locate([name])?.line ?? 1}: ${name}`
      if (name.startsWith('x-')) continue
      if (key === undefined) problems.push(unknownSetting(at, name, [...known.keys()]))
      else if (!['string', 'number', 'boolean'].includes(typeof value)) problems.push(`${at} must be one value`)
      else values.set(key, String(value))
    }
  if (problems.length > 0) throw settingsInvalid(problems)
  return values
}

function isInternal(key: Key): boolean {
  return (SETTING_DEFINITIONS[key] as SettingDefinition<unknown>).isInternal === true
}

function unknownSetting(at: string, name: string, known: readonly string[]): string {
  const near = nearest(name, known)
  return `${at} is an unknown setting${near === null ? '' : `, did you mean ${near}?`} Allowed: ${known.join(', ')}`
}

function settingsInvalid(problems: readonly string[]): ShiplockError {
  const message =
    problems.length === 1
      ? (problems[0] ?? '')
      : `${problems.length} settings are wrong:\n${problems.map((line) => `  ${line}`).join('\n')}`
  return new ShiplockError('INPUT_INVALID', printableLines(message), {
    details: { problems },
    hint: 'Correct the settings that are named and start again; docs/configuration.md lists them all.',
  })
}

function printableLines(text: string): string {
  return text.split('\n').map(printable).join('\n')
}
