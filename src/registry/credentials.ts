import { readFile, stat } from 'node:fs/promises'
import { ShiplockError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { credentialKeys } from './image-name.ts'

/** What a registry is told about who we are. Never logged, never on a command line (I8). */
export type Credentials =
  | { readonly kind: 'password'; readonly username: string; readonly password: string }
  /** A refresh token of an OAuth2 registry, as `docker login` keeps it. */
  | { readonly kind: 'identity'; readonly token: string }

export interface CredentialSource {
  /** null = none: the registry is asked as anybody. @throws PUBLISH_FAILED for a file that can't be used */
  find(host: string): Promise<Credentials | null>
}

export interface CredentialSettings {
  readonly username: string | null
  readonly password: string | null
  /** A file as `docker login` writes it, readable by its owner only. */
  readonly file: string | null
  /** The host that user and password are for; the file may name many. */
  readonly host: string
}

/** User and password from the settings, for their one host; else what the file says, read at each use so that it may be changed at any time. */
export function createCredentialSource(settings: CredentialSettings): CredentialSource {
  const { username, password, file, host: own } = settings
  return {
    find: async (host) => {
      if (host === own && username !== null && password !== null) return { kind: 'password', username, password }
      return file === null ? null : findInFile(file, host)
    },
  }
}

async function findInFile(path: string, host: string): Promise<Credentials | null> {
  const text = await readPrivately(path)
  const config = parseObject(text, path)
  const auths = asObject(config.auths)
  for (const key of credentialKeys(host)) {
    const entry = asObject(auths?.[key])
    if (entry !== null) return credentialsOf(entry, path, key)
  }
  const helpers = asObject(config.credHelpers)
  if (config.credsStore !== undefined || helpers?.[host] !== undefined) {
    throw refused(path, `names a credential helper for ${host}; helpers are not run`, 'Put `auths` with user and password into the file.')
  }
  return null
}

async function readPrivately(path: string): Promise<string> {
  const facts = await stat(path).catch(() => null)
  if (facts === null || !facts.isFile()) throw refused(path, 'is not there, or is not a file')
  if ((facts.mode & 0o077) !== 0) {
    throw refused(path, 'may be read by others than its owner', `chmod 600 ${path}`)
  }
  if (facts.size > LIMITS.configBytes) throw refused(path, `is larger than ${LIMITS.configBytes} bytes`)
  return readFile(path, 'utf8').catch(() => {
    throw refused(path, 'can not be read')
  })
}

function credentialsOf(entry: Readonly<Record<string, unknown>>, path: string, key: string): Credentials {
  if (typeof entry.identitytoken === 'string' && entry.identitytoken !== '') return { kind: 'identity', token: entry.identitytoken }
  if (typeof entry.username === 'string' && typeof entry.password === 'string') {
    return { kind: 'password', username: entry.username, password: entry.password }
  }
  const pair = typeof entry.auth === 'string' ? Buffer.from(entry.auth, 'base64').toString('utf8') : ''
  const colon = pair.indexOf(':')
  if (colon < 1) throw refused(path, `has no user and password at auths[${JSON.stringify(key)}]`)
  return { kind: 'password', username: pair.slice(0, colon), password: pair.slice(colon + 1).replace(/\0+$/, '') }
}

function parseObject(text: string, path: string): Readonly<Record<string, unknown>> {
  try {
    const parsed = asObject(JSON.parse(text))
    if (parsed !== null) return parsed
  } catch {
    // The parser's message would repeat a piece of the file.
  }
  throw refused(path, 'is not a JSON object')
}

function asObject(value: unknown): Readonly<Record<string, unknown>> | null {
  return value !== null && typeof value === 'object' && !Array.isArray(value) ? (value as Record<string, unknown>) : null
}

function refused(path: string, what: string, hint = 'Write it as `docker login` does.'): ShiplockError {
  return new ShiplockError('PUBLISH_FAILED', `the registry's credentials file ${path} ${what}`, { hint })
}

/** Value of the engine's `X-Registry-Auth` header: URL-safe base64 of JSON, with its padding. */
export function registryAuthHeader(credentials: Credentials | null, host: string): string {
  const fields =
    credentials === null
      ? {}
      : credentials.kind === 'identity'
        ? { identitytoken: credentials.token, serveraddress: host }
        : { username: credentials.username, password: credentials.password, serveraddress: host }
  return Buffer.from(JSON.stringify(fields)).toString('base64').replaceAll('+', '-').replaceAll('/', '_')
}

/** What of them must never be seen. */
export function secretsOf(credentials: Credentials | null, host: string): readonly string[] {
  if (credentials === null) return []
  const secret = credentials.kind === 'identity' ? credentials.token : credentials.password
  return [secret, registryAuthHeader(credentials, host)]
}
