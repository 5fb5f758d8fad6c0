import { ShiplockError } from '../core/errors.ts'

/** What one registry is told about who asks. Never logged, never on a command line (I8). */
export type RegistryAuth = { readonly username: string; readonly password: string } | { readonly identityToken: string }
/** By host: `ghcr.io`, `registry.example.com:5000`; Docker Hub is `docker.io`. */
export type RegistryAuths = ReadonlyMap<string, RegistryAuth>

const HUB_KEY = 'https://index.docker.io/v1/'
const HUB_NAMES = new Set(['docker.io', 'index.docker.io', 'registry-1.docker.io', 'registry.hub.docker.com'])
const HOST = /^[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::\d{1,5})?$/

/** `{"auths": {"ghcr.io": {"auth": "<base64 of user:password>"}}}`, or with username and password. @throws INPUT_INVALID; never repeats a value */
export function parseRegistryAuths(text: string, where: string): RegistryAuths {
  const config = asObject(parseJson(text, where))
  const auths = asObject(config?.auths)
  const usesHelper = config?.credsStore !== undefined || config?.credHelpers !== undefined
  const otherwise = (what: string) => refused(where, usesHelper ? 'names a credential helper; helpers are not run' : what)
  if (auths === null) throw otherwise('has no `auths`')
  const found = new Map<string, RegistryAuth>()
  for (const [key, value] of Object.entries(auths)) {
    const host = hostOfKey(key)
    const auth = authOf(asObject(value))
    if (host === null) throw refused(where, 'names a registry that is no host')
    if (auth === null) throw otherwise(`has no user and password for ${host}`)
    found.set(host, auth)
  }
  return found
}

/** Value of the engine's `X-Registry-Auth` header: URL-safe base64 of JSON, with its padding. */
export function engineAuthHeader(auth: RegistryAuth | null, host: string): string {
  const serveraddress = host === 'docker.io' ? HUB_KEY : host
  const fields =
    auth === null ? {} : 'identityToken' in auth ? { identitytoken: auth.identityToken, serveraddress } : { ...auth, serveraddress }
  return Buffer.from(JSON.stringify(fields)).toString('base64').replaceAll('+', '-').replaceAll('/', '_')
}

/** As the docker CLI reads it from its config.json. */
export function cliConfig(auths: RegistryAuths): string {
  const entries = [...auths].map(([host, auth]) => {
    const key = host === 'docker.io' ? HUB_KEY : host
    const value =
      'identityToken' in auth
        ? { identitytoken: auth.identityToken }
        : { auth: Buffer.from(`${auth.username}:${auth.password}`).toString('base64') }
    return [key, value] as const
  })
  return JSON.stringify({ auths: Object.fromEntries(entries) })
}

function hostOfKey(key: string): string | null {
  const host = key
    .replace(/^https?:\/\//, '')
    .replace(/\/.*$/, '')
    .toLowerCase()
  if (HUB_NAMES.has(host)) return 'docker.io'
  return HOST.test(host) ? host : null
}

function authOf(entry: Readonly<Record<string, unknown>> | null): RegistryAuth | null {
  if (entry === null) return null
  const { identitytoken, username, password, auth } = entry
  if (typeof identitytoken === 'string' && identitytoken !== '') return { identityToken: identitytoken }
  if (typeof username === 'string' && username !== '' && typeof password === 'string') return { username, password }
  const pair = typeof auth === 'string' ? Buffer.from(auth, 'base64').toString('utf8') : ''
  const colon = pair.indexOf(':')
  return colon < 1 ? null : { username: pair.slice(0, colon), password: pair.slice(colon + 1).replace(/\0+$/, '') }
}

function parseJson(text: string, where: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    // The parser's message would repeat a piece of it.
    throw refused(where, 'is not JSON')
  }
}

function asObject(value: unknown): Readonly<Record<string, unknown>> | null {
  return value !== null && typeof value === 'object' && !Array.isArray(value) ? (value as Record<string, unknown>) : null
}

function refused(where: string, what: string): ShiplockError {
  return new ShiplockError('INPUT_INVALID', `${where} ${what}`, {
    hint: 'Give it in the form of `docker login`’s config.json: {"auths": {"ghcr.io": {"auth": "<base64 of user:password>"}}}',
  })
}
