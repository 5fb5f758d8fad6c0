import type { IncomingMessage, ServerResponse } from 'node:http'
import type { BlockList } from 'node:net'
import type { RouteSpec } from '../contract/route.ts'
import { ROUTES } from '../contract/routes.ts'
import { ShiplockError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { findTokens, type TokenRecord } from '../store/sql/tokens.ts'
import { type Actor, assertCounts, readBearer } from './access.ts'
import { hashToken, isToken } from './admin-token.ts'
import { type Access, accessOf, assertVerb, NO_ACCESS } from './authorize.ts'
import { BatchedLookup } from './batched-lookup.ts'
import { clientAddress, holderOf, parseProxies } from './client-address.ts'
import { noteKnown } from './connections.ts'
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
  readonly #proxies: BlockList
  readonly #perToken: RateLimiter
  readonly #anonymous: RateLimiter
  readonly #failures: RateLimiter
  readonly #tokens: BatchedLookup<TokenRecord>

  constructor(dependencies: ApiDependencies) {
    const proxies = parseProxies(dependencies.trustedProxies)
    if (proxies === null) throw new ShiplockError('INPUT_INVALID', 'the trusted proxies are not addresses')
    this.#proxies = proxies
    const limiter = (name: string, requests: number) =>
      new RateLimiter({ name, requests, windowMs: MINUTE_MS, holdersMax: LIMITS.rateHolders }, dependencies.clock)
    this.#tokens = new BatchedLookup((hashes) => findTokens(dependencies.database, hashes))
    const { perToken, anonymous, failures } = dependencies.ratesPerMinute
    this.#perToken = limiter('token', perToken)
    this.#anonymous = limiter('anonymous', anonymous)
    this.#failures = limiter('failures', failures)
  }

  async admit(spec: RouteSpec, incoming: IncomingMessage, outgoing: ServerResponse): Promise<Admitted> {
    const forwarded = incoming.headers['x-forwarded-for']
    const address = clientAddress(incoming.socket.remoteAddress, Array.isArray(forwarded) ? forwarded.join(',') : forwarded, this.#proxies)
    if (spec.needs === undefined) {
      // Health costs nothing, and who keeps asking for it must not take it from a load balancer at the same address.
      if (spec.path !== ROUTES.getHealth.path) this.#count(this.#anonymous, holderOf(address), outgoing)
      return { actor: { tokenId: '', name: 'anonymous', address }, access: NO_ACCESS, token: null }
    }
    const token = await this.#authenticate(incoming.headers.authorization, holderOf(address), outgoing)
    noteKnown(incoming.socket)
    this.#count(this.#perToken, token.id, outgoing)
    const access = accessOf(token)
    assertVerb(access, spec.needs)
    return { actor: { tokenId: token.id, name: token.member ?? token.name, address }, access, token }
  }

  /**
   * Every token is looked up, by its sha256, so that neither the database nor the time it takes tells anything about others. Failures are
   * counted by address, and whoever has too many is told to wait; a good token is never refused for the bad ones beside it.
   */
  async #authenticate(header: string | undefined, holder: string, outgoing: ServerResponse): Promise<TokenRecord> {
    try {
      const token = readBearer(header)
      return assertCounts(isToken(token) ? await this.#tokens.get(hashToken(token).toString('hex')) : null)
    } catch (error) {
      if (!(error instanceof ShiplockError) || error.code !== 'UNAUTHORIZED') throw error
      this.#count(this.#failures, holder, outgoing)
      throw error
    }
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
