import { createHash } from 'node:crypto'
import { isIP } from 'node:net'
import type { RegistryAuth } from '../container-engine/registry-auth.ts'
import { LIMITS } from '../core/limits.ts'
import { apiHost } from './image-name.ts'
import { RegistryProblem } from './registry-problem.ts'

export interface Manifest {
  /** Of the bytes below, computed here: what a registry says about itself is not believed. */
  readonly digest: string
  readonly mediaType: string
  readonly bytes: Uint8Array
}

export interface RegistryClientOptions {
  readonly host: string
  /** Plain HTTP instead of HTTPS. */
  readonly isPlain: boolean
  readonly credentials: RegistryAuth | null
}

const MANIFEST_TYPES = [
  'application/vnd.docker.distribution.manifest.v2+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.oci.image.index.v1+json',
]

interface Challenge {
  readonly scheme: 'basic' | 'bearer'
  readonly parameters: Readonly<Record<string, string>>
}

/**
 * The part of the OCI distribution API (https://github.com/opencontainers/distribution-spec) that looks at manifests and names them.
 * Layers go through the container engine. Rejects with RegistryProblem.
 */
export class RegistryClient {
  readonly #options: RegistryClientOptions
  readonly #origin: string
  /** By scope; a token is for one repository. */
  readonly #authorization = new Map<string, string>()

  constructor(options: RegistryClientOptions) {
    this.#options = options
    this.#origin = `${options.isPlain ? 'http' : 'https'}://${apiHost(options.host)}`
  }

  /** Answers when the registry speaks this API and takes our credentials. */
  async ping(signal: AbortSignal): Promise<void> {
    const response = await this.#send('GET', '/v2/', { scope: '', signal })
    await readBounded(response)
    if (!response.ok) throw problemOf(response, 'asked whether it is a registry, it')
  }

  /** null = there is no such manifest. `reference`: a tag or a digest; what a digest names must have that digest. */
  async findManifest(path: string, reference: string, signal: AbortSignal): Promise<Manifest | null> {
    const response = await this.#send('GET', `/v2/${path}/manifests/${reference}`, {
      scope: `repository:${path}:pull,push`,
      headers: { accept: MANIFEST_TYPES.join(', ') },
      signal,
    })
    const bytes = await readBounded(response)
    if (response.status === 404) return null
    if (!response.ok) throw problemOf(response, `asked for ${path}:${reference}, it`, bytes)
    const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`
    if (reference.startsWith('sha256:') && digest !== reference) {
      throw new RegistryProblem('refused', `asked for ${reference} it gave ${digest}`)
    }
    return { digest, mediaType: mediaTypeOf(response), bytes }
  }

  /** Gives a manifest that is there a further tag. */
  async tagManifest(path: string, tag: string, manifest: Manifest, signal: AbortSignal): Promise<void> {
    const response = await this.#send('PUT', `/v2/${path}/manifests/${tag}`, {
      scope: `repository:${path}:pull,push`,
      headers: { 'content-type': manifest.mediaType },
      body: manifest.bytes,
      signal,
    })
    const answer = await readBounded(response)
    if (!response.ok) throw problemOf(response, `asked to tag ${path}:${tag}, it`, answer)
  }

  async #send(
    method: string,
    path: string,
    request: {
      readonly scope: string
      readonly headers?: Record<string, string>
      readonly body?: Uint8Array
      readonly signal: AbortSignal
    },
  ): Promise<Response> {
    const once = () => {
      const authorization = this.#authorization.get(request.scope)
      const headers = { ...request.headers, ...(authorization === undefined ? {} : { authorization }) }
      return ask(`${this.#origin}${path}`, { method, headers, body: request.body ?? null }, request.signal)
    }
    const first = await once()
    if (first.status !== 401) return first
    const challenge = parseChallenge(first.headers.get('www-authenticate') ?? '')
    await readBounded(first)
    if (challenge === null) throw new RegistryProblem('denied', 'it answered 401 and does not say how to log in')
    // A token that has run out is drawn again; a password that was refused is not sent twice.
    const isPasswordRefused = challenge.scheme === 'basic' && this.#authorization.has(request.scope)
    if (isPasswordRefused) throw new RegistryProblem('denied', 'user or password are wrong (401)')
    this.#authorization.set(request.scope, await this.#authorize(challenge, request.scope, request.signal))
    return once()
  }

  async #authorize(challenge: Challenge, scope: string, signal: AbortSignal): Promise<string> {
    const { credentials } = this.#options
    if (challenge.scheme === 'bearer') return `Bearer ${await this.#drawToken(challenge.parameters, scope, signal)}`
    if (credentials === null) throw new RegistryProblem('denied', 'it wants user and password (401), and none are configured')
    return basic(credentials)
  }

  /** https://distribution.github.io/distribution/spec/auth/token/ and …/oauth/ */
  async #drawToken(parameters: Challenge['parameters'], scope: string, signal: AbortSignal): Promise<string> {
    const { credentials, isPlain } = this.#options
    const { realm = '', service = '' } = parameters
    const url = URL.canParse(realm) ? new URL(realm) : null
    if (url === null || (url.protocol !== 'https:' && !(isPlain && url.protocol === 'http:'))) {
      throw new RegistryProblem('refused', 'it names a token server that is not reached by HTTPS')
    }
    const wanted = scope === '' ? (parameters.scope ?? '') : scope
    if (!isSameSite(url.hostname, new URL(this.#origin).hostname)) {
      throw new RegistryProblem('refused', `it names a token server of another site, ${url.hostname}, which gets no credentials of it`)
    }
    const response = await askForToken(url, { service, scope: wanted, credentials, signal })
    const bytes = await readBounded(response)
    if (response.status === 400) throw new RegistryProblem('denied', 'its token server refuses our credentials (400)')
    if (!response.ok) throw problemOf(response, 'its token server', bytes)
    const token = tokenIn(bytes)
    if (token === null) throw new RegistryProblem('refused', 'its token server gave no token')
    return token
  }
}

/** The same host, or another name of the same domain (`registry.gitlab.com` and `gitlab.com`): no other gets a password. */
export function isSameSite(host: string, other: string): boolean {
  if (host === other) return true
  const [domain, otherDomain] = [host, other].map((name) => (isIP(name.replace(/^\[|\]$/g, '')) === 0 ? name.split('.').slice(-2) : []))
  return domain?.length === 2 && domain.join('.') === otherDomain?.join('.')
}

function askForToken(
  url: URL,
  request: { readonly service: string; readonly scope: string; readonly credentials: RegistryAuth | null; readonly signal: AbortSignal },
): Promise<Response> {
  const { service, scope, credentials, signal } = request
  if (credentials !== null && 'identityToken' in credentials) {
    const form = new URLSearchParams({
      grant_type: 'refresh_token',
      client_id: 'shiplock',
      service,
      scope,
      refresh_token: credentials.identityToken,
    })
    return ask(
      url.href,
      { method: 'POST', headers: { 'content-type': 'application/x-www-form-urlencoded' }, body: form.toString() },
      signal,
    )
  }
  if (service !== '') url.searchParams.set('service', service)
  if (scope !== '') url.searchParams.append('scope', scope)
  const headers: Record<string, string> = credentials === null ? {} : { authorization: basic(credentials) }
  return ask(url.href, { method: 'GET', headers, body: null }, signal)
}

function tokenIn(bytes: Uint8Array): string | null {
  try {
    const { token, access_token: accessToken } = JSON.parse(Buffer.from(bytes).toString('utf8')) as Record<string, unknown>
    const found = [token, accessToken].find((value) => typeof value === 'string' && /^[\x21-\x7e]{1,16384}$/.test(value))
    return (found as string | undefined) ?? null
  } catch {
    return null
  }
}

function basic(credentials: RegistryAuth): string {
  if ('identityToken' in credentials) throw new RegistryProblem('denied', 'it wants a password, and an identity token is configured')
  return `Basic ${Buffer.from(`${credentials.username}:${credentials.password}`).toString('base64')}`
}

async function ask(
  url: string,
  init: { readonly method: string; readonly headers: Record<string, string>; readonly body: string | Uint8Array | null },
  signal: AbortSignal,
): Promise<Response> {
  signal.throwIfAborted()
  try {
    return await fetch(url, {
      method: init.method,
      headers: { 'user-agent': 'shiplock', ...init.headers },
      body: init.body,
      // Neither credentials nor the server itself are sent anywhere by an answer.
      redirect: 'manual',
      signal: AbortSignal.any([signal, AbortSignal.timeout(LIMITS.registryRequestMs)]),
    })
  } catch (error) {
    signal.throwIfAborted()
    throw transportProblem(error)
  }
}

/** fetch says "fetch failed"; what failed is its cause. */
function transportProblem(error: unknown): RegistryProblem {
  const cause = (error as { cause?: { code?: unknown; message?: unknown } }).cause
  const isLate = (error as Error).name === 'TimeoutError'
  const detail = isLate
    ? `no answer within ${LIMITS.registryRequestMs / 1000} s`
    : String(cause?.code ?? cause?.message ?? (error as Error).message)
  // A certificate does not become good by waiting.
  const isCertificate = /CERT|SELF_SIGNED|UNABLE_TO_VERIFY|ERR_SSL|ERR_TLS|wrong version number/i.test(detail)
  return new RegistryProblem(isCertificate ? 'refused' : 'passing', detail)
}

async function readBounded(response: Response): Promise<Uint8Array> {
  const chunks: Uint8Array[] = []
  let size = 0
  try {
    for await (const chunk of response.body ?? []) {
      size += chunk.length
      if (size > LIMITS.registryManifestBytes)
        throw new RegistryProblem('refused', `its answer is larger than ${LIMITS.registryManifestBytes} bytes`)
      chunks.push(chunk)
    }
  } catch (error) {
    if (error instanceof RegistryProblem) throw error
    throw new RegistryProblem(
      'passing',
      `its answer was cut: ${String((error as { cause?: { code?: unknown } }).cause?.code ?? (error as Error).message)}`,
    )
  }
  return Buffer.concat(chunks)
}

function problemOf(response: Response, what: string, body?: Uint8Array): RegistryProblem {
  const { status } = response
  const said = body === undefined ? '' : errorIn(body)
  const message = `${what} answered ${status}${said === '' ? '' : `, ${said}`}`
  if (status >= 300 && status < 400) return new RegistryProblem('refused', `${what} sends us elsewhere (${status}), which is not followed`)
  if (status === 401 || status === 403) return new RegistryProblem('denied', message)
  if (status === 429 || status >= 500) return new RegistryProblem('passing', message, retryAfterMs(response))
  return new RegistryProblem('refused', message)
}

/** `{errors: [{code, message}]}` of the distribution API. */
function errorIn(body: Uint8Array): string {
  try {
    const { errors } = JSON.parse(Buffer.from(body).toString('utf8')) as { errors?: { code?: unknown; message?: unknown }[] }
    return [errors?.[0]?.code, errors?.[0]?.message].filter((part) => typeof part === 'string').join(': ')
  } catch {
    return ''
  }
}

function retryAfterMs(response: Response): number | null {
  const seconds = /^\d{1,6}$/.exec(response.headers.get('retry-after') ?? '')?.[0]
  return seconds === undefined ? null : Number(seconds) * 1000
}

function mediaTypeOf(response: Response): string {
  const type = (response.headers.get('content-type') ?? '').split(';')[0]?.trim() ?? ''
  if (!MANIFEST_TYPES.includes(type)) throw new RegistryProblem('refused', `it calls a manifest ${JSON.stringify(type.slice(0, 80))}`)
  return type
}

/** `Bearer realm="…",service="…"`. Where several ways are offered, the token. */
export function parseChallenge(header: string): Challenge | null {
  const bearer = /(?:^|,\s*)bearer\s+(.*)$/i.exec(header)
  if (bearer !== null) {
    const pairs = [...(bearer[1] ?? '').matchAll(/([a-z_]+)="((?:[^"\\]|\\.)*)"/gi)]
    return { scheme: 'bearer', parameters: Object.fromEntries(pairs.map(([, key = '', value = '']) => [key.toLowerCase(), value])) }
  }
  return /(?:^|,\s*)basic\b/i.test(header) ? { scheme: 'basic', parameters: {} } : null
}
