import type { ShiplockError } from '../../core/errors.ts'
import { toShiplockError } from '../../core/errors.ts'
import type { WebhookEvent } from '../../domain/push.ts'
import type { DeliveryIdentity, Webhook, WebhookRequest } from './webhook.ts'

/** One request of a git host, as its provider reads it. */
export type HookReading =
  | { readonly kind: 'refused'; readonly code: string; readonly reason: string }
  /** It was the host, and the body is not what it should be. `secret` above 0: one that is being replaced. */
  | { readonly kind: 'unreadable'; readonly error: ShiplockError; readonly identity: DeliveryIdentity; readonly secret: number }
  | { readonly kind: 'read'; readonly event: WebhookEvent; readonly identity: DeliveryIdentity; readonly secret: number }

/** A job of CI that calls the address by hand; as a refusal it would only look like a fault of ours. */
const EMPTY: WebhookEvent = {
  kind: 'ignored',
  reason: 'the body is empty, so it names no push: a job of CI deploys with `shiplock deploy`',
}

/** Nothing is parsed before it is known who sent it. */
export function readHook(webhook: Webhook, request: WebhookRequest): HookReading {
  const verdict = webhook.verify(request)
  if (!verdict.isAccepted) return { kind: 'refused', code: verdict.code, reason: `${verdict.reason}. ${verdict.hint}` }
  const { headers, rawBody } = request
  const about = { identity: webhook.identify(headers, rawBody), secret: verdict.secret }
  if (rawBody.length === 0) return { kind: 'read', event: EMPTY, ...about }
  try {
    return { kind: 'read', event: webhook.parse(headers, rawBody), ...about }
  } catch (error) {
    return { kind: 'unreadable', error: toShiplockError(error), ...about }
  }
}
