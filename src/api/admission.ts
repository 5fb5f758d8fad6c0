import type { IncomingMessage, ServerResponse } from 'node:http'
import type { BlockList } from 'node:net'
import type { RouteSpec } from '../contract/route.ts'
import { ShiplockError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { TokenRecord } from '../store/sql/tokens.ts'
import { type Actor, authenticate } from './access.ts'
import { hashToken } from './admin-token.ts'
import { type Access, accessOf, assertVerb, NO_ACCESS } from './authorize.ts'
import { clientAddress, holderOf, parseProxies } from './client-address.ts'
import type { ApiDependencies } from './dependencies.ts'
import { RateLimiter, rateHeaders } from './rate-limiter.ts'

/** Who was let in, and what they may. `token` null = a public route. */
export interface Admitted {
  readonly actor: Actor
  readonly access: Access
  readonly token: TokenRecord | null
}

const MINUTE_MS = 60_000

/** The door of the API: who asks, from where, how often, and whether they may ask this at all. */
export class Admission {
  readonly #dependencies: ApiDependencies
  readonly #proxies: BlockList
  readonly #perToken: RateLimiter
  readonly #anonymous: RateLimiter
  readonly #failures: RateLimiter
  /** sha256 of tokens that were good a moment ago: somebody else's failures at the same address don't lock them out. */
  readonly #good = new Set<string>()

  constructor(dependencies: ApiDependencies) {
    this.#dependencies = dependencies
    const proxies = parseProxies(dependencies.trustedProxies)
    if (proxies === null) throw new ShiplockError('INPUT_INVALID', 'the trusted proxies are not addresses')
    this.#proxies = proxies
    const limiter = (name: string, requests: number) =>
      new RateLimiter({ name, requests, windowMs: MINUTE_MS, holdersMax: LIMITS.rateHolders }, dependencies.clock)
    const { perToken, anonymous, failures } = dependencies.ratesPerMinute
    this.#perToken = limiter('token', perToken)
    this.#anonymous = limiter('anonymous', anonymous)
    this.#failures = limiter('failures', failures)
  }

  async admit(spec: RouteSpec, incoming: IncomingMessage, outgoing: ServerResponse): Promise<Admitted> {
    const forwarded = incoming.headers['x-forwarded-for']
    const address = clientAddress(incoming.socket.remoteAddress, Array.isArray(forwarded) ? forwarded.join(',') : forwarded, this.#proxies)
    if (spec.needs === undefined) {
      this.#count(this.#anonymous, holderOf(address), outgoing)
      return { actor: { tokenId: '', name: 'anonymous', address }, access: NO_ACCESS, token: null }
    }
    const token = await this.#authenticate(incoming.headers.authorization, holderOf(address), outgoing)
    this.#count(this.#perToken, token.id, outgoing)
    const access = accessOf(token)
    assertVerb(access, spec.needs)
    return { actor: { tokenId: token.id, name: token.member ?? token.name, address }, access, token }
  }

  /** Failures are counted by address; whoever has too many of them is not looked up any more. */
  async #authenticate(header: string | undefined, holder: string, outgoing: ServerResponse): Promise<TokenRecord> {
    const key = hashToken(header ?? '').toString('base64')
    if (!this.#good.has(key) && !this.#failures.peek(holder).isAllowed) this.#count(this.#failures, holder, outgoing)
    try {
      const token = await authenticate(this.#dependencies.database, header)
      this.#remember(key)
      return token
    } catch (error) {
      if (error instanceof ShiplockError && error.code === 'UNAUTHORIZED') {
        this.#good.delete(key)
        this.#failures.take(holder)
      }
      throw error
    }
  }

  #remember(key: string): void {
    this.#good.delete(key)
    this.#good.add(key)
    const [oldest] = this.#good
    if (this.#good.size > LIMITS.rateHolders && oldest !== undefined) this.#good.delete(oldest)
  }

  /** Throws RATE_LIMITED. The headers stand on every answer, also on the refusal. */
  #count(limiter: RateLimiter, holder: string, outgoing: ServerResponse): void {
    const verdict = limiter.take(holder)
    for (const [name, value] of rateHeaders(limiter.policy, verdict)) outgoing.setHeader(name, value)
    if (verdict.isAllowed) return
    const { name, requests } = limiter.policy
    const what = name === 'failures' ? `${requests} refused requests` : `${requests} requests`
    throw new ShiplockError('RATE_LIMITED', `more than ${what} in a minute`, { details: { retryAfterSeconds: verdict.retryAfterSeconds } })
  }
}
