import { randomBytes } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { BlockList } from 'node:net'
import { ShiplockError, toShiplockError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { insertDelivery, insertRefusal, type NewDelivery } from '../store/sql/deliveries.ts'
import { findWebhookSecrets } from '../store/sql/webhooks.ts'
import { clientAddress, holderOf, parseProxies } from './client-address.ts'
import type { ApiDependencies, HookReading } from './dependencies.ts'
import { problemResponse } from './problem.ts'
import { RateLimiter } from './rate-limiter.ts'

const HOOK_ID = /^hook_[0-9a-z]{20}$/
const UNVERIFIED = 'the request could not be verified as one of this webhook'

type HookDependencies = Pick<ApiDependencies, 'database' | 'clock' | 'logger' | 'open' | 'readHook' | 'trustedProxies'>

/**
 * `POST /hooks/{id}`: the one door that is open to everybody. A delivery is verified, stored and answered; what it does is decided later, by
 * the engine. Nothing of a request is believed, and nothing of it but its size is remembered, before it is known who sent it.
 */
export class HookDoor {
  readonly #dependencies: HookDependencies
  readonly #perHook: RateLimiter
  readonly #refusals: RateLimiter
  readonly #proxies: BlockList
  /** Never matches: an unknown hook costs the same work as a bad signature. */
  readonly #decoy = randomBytes(32).toString('hex')
  #bytesOnTheWay = 0

  constructor(dependencies: HookDependencies) {
    const limiter = (name: string, requests: number) =>
      new RateLimiter({ name, requests, windowMs: 60_000, holdersMax: LIMITS.rateHolders }, dependencies.clock)
    this.#dependencies = dependencies
    this.#proxies = parseProxies(dependencies.trustedProxies) ?? new BlockList()
    this.#perHook = limiter('hook', LIMITS.webhookRequestsPerMinute)
    this.#refusals = limiter('refused', LIMITS.webhookRefusalsPerMinute)
  }

  async answer(id: string, incoming: IncomingMessage): Promise<Response> {
    try {
      return await this.#answer(id, incoming)
    } catch (error) {
      const known = toShiplockError(error)
      if (known.code === 'INTERNAL')
        this.#dependencies.logger.error('a delivery could not be taken', { error, stack: (error as Error).stack })
      return problemResponse(known, {
        ...(known.info.actor === 'retry' ? { 'retry-after': '10' } : {}),
        ...(known.code === 'UNAUTHORIZED' ? { 'www-authenticate': 'Signature realm="hooks"' } : {}),
        ...(incoming.complete ? {} : { connection: 'close' }),
      })
    }
  }

  async #answer(id: string, incoming: IncomingMessage): Promise<Response> {
    const forwarded = incoming.headers['x-forwarded-for']
    const holder = holderOf(
      clientAddress(incoming.socket.remoteAddress, Array.isArray(forwarded) ? forwarded.join(',') : forwarded, this.#proxies),
    )
    const hook = HOOK_ID.test(id) ? id : ''
    const isTooOften = !this.#refusals.peek(holder).isAllowed || !this.#perHook.take(hook).isAllowed
    if (isTooOften) throw new ShiplockError('RATE_LIMITED', 'too many requests to this webhook')
    const rawBody = await this.#readBody(incoming)
    const { database, open, readHook } = this.#dependencies
    const found = await findWebhookSecrets(database, hook)
    const isUsable = found !== null && found.isEnabled
    const secrets = isUsable ? found.sealedSecrets.map(open) : [this.#decoy]
    const reading = readHook(found?.provider ?? 'github', { headers: incoming.headersDistinct, rawBody, secrets })
    if (reading.kind === 'refused' || !isUsable) {
      this.#refusals.take(holder)
      if (found !== null) void this.#noteRefusal(found.id, reading, rawBody.length, isUsable)
      throw new ShiplockError('UNAUTHORIZED', UNVERIFIED, {
        hint: 'Whoever set it up finds the reason with `shiplock webhook deliveries`.',
      })
    }
    return this.#store(found, reading, rawBody)
  }

  async #store(
    { id: webhookId, hasPreviews }: { readonly id: string; readonly hasPreviews: boolean },
    reading: Exclude<HookReading, { kind: 'refused' }>,
    rawBody: Buffer,
  ): Promise<Response> {
    const settled = settledAtOnce(reading, hasPreviews)
    const delivery: NewDelivery = {
      webhookId,
      deliveryId: reading.identity.id,
      event: reading.identity.event,
      bodyDigest: reading.identity.bodyDigest,
      parsed: reading.kind === 'read' ? reading.event : null,
      payload: rawBody.subarray(0, LIMITS.webhookPayloadKeptBytes),
      payloadBytes: rawBody.length,
      usedPreviousSecret: reading.secret > 0,
      ...(settled === null ? {} : { settled }),
    }
    const { id, duplicateOf } = await insertDelivery(this.#dependencies.database, delivery)
    if (reading.kind === 'unreadable') throw reading.error
    if (duplicateOf !== null) return accepted(200, { delivery: id, verdict: 'duplicate', of: duplicateOf })
    const verdict = settled?.verdict ?? 'received'
    return accepted(settled === null ? 202 : 200, { delivery: id, verdict, ...(settled === null ? {} : { reason: settled.reason }) })
  }

  /** After the answer, so that it takes no longer for a hook that exists than for one that does not. */
  async #noteRefusal(webhookId: string, reading: HookReading, payloadBytes: number, isEnabled: boolean): Promise<void> {
    const { code, reason } = reading.kind === 'refused' ? reading : { code: 'disabled', reason: 'the webhook is turned off' }
    const noted = isEnabled ? { code, reason } : { code: 'disabled', reason: 'the webhook is turned off' }
    await insertRefusal(this.#dependencies.database, { webhookId, ...noted, payloadBytes }).catch((error: unknown) => {
      this.#dependencies.logger.warn('a refused delivery could not be noted', { webhookId, error })
    })
  }

  /** The bytes as they come, within the bounds of one body, of all bodies together, and of time. */
  async #readBody(incoming: IncomingMessage): Promise<Buffer> {
    const chunks: Buffer[] = []
    let size = 0
    const tooSlow = setTimeout(() => incoming.destroy(), LIMITS.webhookBodyMs)
    try {
      for await (const chunk of incoming as AsyncIterable<Buffer>) {
        size += chunk.length
        this.#bytesOnTheWay += chunk.length
        if (size > LIMITS.webhookBodyBytes) {
          throw new ShiplockError('BODY_TOO_LARGE', `the body is larger than ${LIMITS.webhookBodyBytes} bytes`, {
            hint: 'Push fewer commits at once.',
          })
        }
        if (this.#bytesOnTheWay > LIMITS.webhookBytesAtOnce) throw new ShiplockError('RATE_LIMITED', 'too many deliveries are on their way')
        chunks.push(chunk)
      }
      return Buffer.concat(chunks)
    } finally {
      clearTimeout(tooSlow)
      this.#bytesOnTheWay -= size
    }
  }
}

/** What needs no decision: a ping, an event that deploys nothing, a body that can't be read. Null = the engine decides. */
function settledAtOnce(
  reading: Exclude<HookReading, { kind: 'refused' }>,
  hasPreviews: boolean,
): NonNullable<NewDelivery['settled']> | null {
  if (reading.kind === 'unreadable')
    return { verdict: 'failed', code: 'unreadable', reason: `${reading.error.message}. ${reading.error.hint}` }
  const { event } = reading
  if (event.kind === 'ping') return { verdict: 'ignored', code: 'ping', reason: 'a ping: the webhook is set up' }
  if (event.kind === 'ignored') return { verdict: 'ignored', code: 'not-a-push', reason: event.reason }
  if (event.kind === 'pullRequest' && !hasPreviews) {
    return { verdict: 'ignored', code: 'pull-request', reason: `pull request #${event.number}: this service has no previews` }
  }
  return null
}

function accepted(status: 200 | 202, body: object): Response {
  return new Response(`${JSON.stringify(body)}\n`, { status, headers: { 'content-type': 'application/json', 'cache-control': 'no-store' } })
}
