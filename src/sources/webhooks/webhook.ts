import type { WebhookEvent } from '../../domain/push.ts'

export const WEBHOOK_PROVIDERS = ['github', 'gitlab', 'gitea'] as const
/** `gitea` is Forgejo and Gogs too. */
export type WebhookProvider = (typeof WEBHOOK_PROVIDERS)[number]

/** Names in any case; several values of one name as a list, or joined by `, ` as node and fetch do. */
export type WebhookHeaders = Readonly<Record<string, string | readonly string[] | undefined>>

export interface WebhookRequest {
  readonly headers: WebhookHeaders
  /** The bytes as they came: what a signature is made over. */
  readonly rawBody: Buffer
  /** The current one first, then those still valid while rotating. Empty texts don't count. */
  readonly secrets: readonly string[]
}

export type RefusalCode = 'no-secret' | 'unsigned' | 'malformed' | 'mismatch' | 'stale' | 'too-large'

export type Verdict =
  /** `secret` is the place in `secrets` of the one that fits: above 0, the host still uses an old one. */
  | { readonly isAccepted: true; readonly secret: number }
  | { readonly isAccepted: false; readonly code: RefusalCode; readonly reason: string; readonly hint: string }

export interface DeliveryIdentity {
  /** Unique among the deliveries of one webhook; a redelivery has it again. Printable ASCII. */
  readonly id: string
  /** The host's word for the event, made harmless; empty when not given. */
  readonly event: string
  /** sha256 of the body, hex. The id stands in a header that most hosts do not sign; the body can't be changed by a replay. */
  readonly bodyDigest: string
}

/** One git host's way to send webhooks. Nothing of a request may be believed before `verify` accepted it. */
export interface Webhook {
  readonly provider: WebhookProvider
  /** Never throws. */
  verify(request: WebhookRequest): Verdict
  /** Never throws. */
  identify(headers: WebhookHeaders, rawBody: Buffer): DeliveryIdentity
  /** Throws INPUT_INVALID, or MEDIA_TYPE_UNSUPPORTED, with what is wrong and where, and nothing else. */
  parse(headers: WebhookHeaders, rawBody: Buffer): WebhookEvent
  /** The headers under which this host would send `rawBody`: for `webhook test` and replays. */
  sign(delivery: OutgoingDelivery): Record<string, string>
}

export interface OutgoingDelivery {
  readonly id: string
  /** `push` or `ping`. */
  readonly event: string
  readonly rawBody: Buffer
  readonly secret: string
}

export function accepted(secret: number): Verdict {
  return { isAccepted: true, secret }
}

export function refused(code: RefusalCode, reason: string, hint: string): Verdict {
  return { isAccepted: false, code, reason, hint }
}
