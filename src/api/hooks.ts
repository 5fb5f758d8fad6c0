import type { IncomingMessage } from 'node:http'
import { BlockList } from 'node:net'
import { ShiplockError, toShiplockError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { insertDelivery, insertRefusal, type NewDelivery } from '../store/sql/deliveries.ts'
import { findWebhookSecrets, type WebhookSecrets } from '../store/sql/webhooks.ts'
import { BatchedLookup } from './batched-lookup.ts'
import { clientAddress, holderOf, parseProxies } from './client-address.ts'
import { noteKnown } from './connections.ts'
import type { ApiDependencies, HookReading } from './dependencies.ts'
import { HookBodies } from './hook-body.ts'
import { problemResponse } from './problem.ts'
import { RateLimiter } from './rate-limiter.ts'

const HOOK_ID = /^hook_[0-9a-z]{20}$/
const UNVERIFIED = 'the request could not be verified as one of this webhook'

type HookDependencies = Pick<ApiDependencies, 'database' | 'clock' | 'logger' | 'open' | 'readHook' | 'trustedProxies'>

/**
 * `POST /hooks/{id}`: the one door that is open to everybody. A delivery is verified, stored and answered; what it does is decided later, by
 * the engine. Nothing of a request is believed, and nothing of it but its size is remembered, before it is known who sent it.
 *
 * What a webhook may do in a minute is spent by what was verified only, and what one sender sends in vain never keeps out what another one
 * sends (I13). An unknown webhook is answered before its body: ids are 100 random bits, so that there is nothing to be learned from that.
 */
export class HookDoor {
  readonly #dependencies: HookDependencies
  readonly #known: BatchedLookup<WebhookSecrets>
  readonly #bodies = new HookBodies()
  readonly #perHook: RateLimiter
  readonly #refusals: RateLimiter
  readonly #notes: RateLimiter
  readonly #proxies: BlockList

  constructor(dependencies: HookDependencies) {
    const limiter = (name: string, requests: number) =>
      new RateLimiter({ name, requests, windowMs: 60_000, holdersMax: LIMITS.rateHolders }, dependencies.clock)
    this.#dependencies = dependencies
    this.#known = new BatchedLookup((ids) => findWebhookSecrets(dependencies.database, ids))
    this.#proxies = parseProxies(dependencies.trustedProxies) ?? new BlockList()
    this.#perHook = limiter('hook', LIMITS.webhookRequestsPerMinute)
    this.#refusals = limiter('refused', LIMITS.webhookRefusalsPerMinute)
    this.#notes = limiter('notes', LIMITS.webhookRefusalNotesPerMinute)
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
    const found = HOOK_ID.test(id) ? await this.#known.get(id) : null
    if (found === null) throw this.#refuse(holder)
    const { open, readHook } = this.#dependencies
    if (!found.isEnabled) {
      this.#noteRefusal(found.id, { code: 'disabled', reason: 'the webhook is turned off' }, 0)
      throw this.#refuse(holder)
    }
    const rawBody = await this.#readBody(incoming, found, holder)
    const secrets = found.sealedSecrets.map(open)
    const reading = await readHook(found.provider, { headers: incoming.headersDistinct, rawBody, secrets })
    if (reading.kind === 'refused') {
      this.#noteRefusal(found.id, reading, rawBody.length)
      throw this.#refuse(holder)
    }
    noteKnown(incoming.socket)
    if (!this.#perHook.take(found.id).isAllowed) throw new ShiplockError('RATE_LIMITED', 'too many deliveries to this webhook')
    return this.#store(found, reading, rawBody)
  }

  /** Whoever keeps sending what can't be verified is told to wait. It is only told: a good delivery beside it comes in all the same. */
  #refuse(holder: string): ShiplockError {
    if (!this.#refusals.take(holder).isAllowed) return new ShiplockError('RATE_LIMITED', 'too many requests that could not be verified')
    return new ShiplockError('UNAUTHORIZED', UNVERIFIED, {
      hint: 'Whoever set it up finds the reason with `shiplock webhook deliveries`.',
    })
  }

  async #readBody(incoming: IncomingMessage, { id, projectId }: WebhookSecrets, holder: string): Promise<Buffer> {
    const isTrusted = this.#refusals.peek(holder).isAllowed
    const bytesMax = isTrusted ? LIMITS.webhookBodyBytes : LIMITS.webhookDoubtedBodyBytes
    try {
      return await this.#bodies.read(incoming, { address: holder, hook: id, project: projectId }, bytesMax)
    } catch (error) {
      // What was not read was not verified either.
      this.#refusals.take(holder)
      throw error
    }
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

  /** After the answer, and not each of a flood: a note is a row. */
  #noteRefusal(webhookId: string, why: { readonly code: string; readonly reason: string }, payloadBytes: number): void {
    if (!this.#notes.take(webhookId).isAllowed) return
    const { database, logger } = this.#dependencies
    insertRefusal(database, { webhookId, code: why.code, reason: why.reason, payloadBytes }).catch((error: unknown) => {
      logger.warn('a refused delivery could not be noted', { webhookId, error })
    })
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
