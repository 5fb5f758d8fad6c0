import type { Clock } from '../../core/clock.ts'
import { LIMITS } from '../../core/limits.ts'
import { headerValues } from './header-values.ts'
import { mismatch } from './hex-signature.ts'
import { hmacSha256, matchHmac } from './signature.ts'
import { accepted, refused, type Verdict, type WebhookHeaders } from './webhook.ts'

/**
 * Signatures after the Standard Webhooks specification, as GitLab sends them: `webhook-signature: v1,<base64>` (several apart by
 * spaces) over `<webhook-id>.<webhook-timestamp>.<body>`, the key being the base64 after `whsec_`.
 */
const KEY_PREFIX = 'whsec_'
const KEY_BYTES_MIN = 16
const NAMES = ['webhook-id', 'webhook-timestamp', 'webhook-signature'] as const

/** The key of a signing token; null = it is an ordinary secret. */
export function signingKey(secret: string): Buffer | null {
  const text = secret.startsWith(KEY_PREFIX) ? secret.slice(KEY_PREFIX.length) : ''
  const key = decodeBase64(text)
  return key !== null && key.length >= KEY_BYTES_MIN ? key : null
}

/** `accepted.secret` is the place in `keys`. */
export function verifyStandardSignature(
  headers: WebhookHeaders,
  rawBody: Buffer,
  keys: readonly Buffer[],
  clock: Pick<Clock, 'now'>,
): Verdict {
  const values = NAMES.map((name) => headerValues(headers, name))
  for (const [index, found] of values.entries()) {
    if (found.length !== 1 || found[0] === '') {
      const problem = found.length > 1 ? 'stands there more than once' : 'is missing'
      return refused('malformed', `the header ${NAMES[index]} ${problem}`, 'Look for a proxy that changes headers.')
    }
  }
  const [id = '', timestamp = '', signature = ''] = values.map(([value = '']) => value)
  // A dot in it would let the border between id, time and body be moved under the same signature.
  if (!/^[\w-]{1,128}$/.test(id)) {
    return refused('malformed', 'the header webhook-id is not an id', 'Look for a proxy that changes headers.')
  }
  if (!/^[0-9]{1,12}$/.test(timestamp)) {
    return refused('malformed', 'the header webhook-timestamp is not a time in seconds', 'Look for a proxy that changes headers.')
  }
  const signatures = parseSignatures(signature)
  if (signatures === null) return refused('malformed', 'the header webhook-signature is not v1,<base64>', 'Check that GitLab sends it.')
  const match = matchHmac(signatures, keys, [`${id}.${timestamp}.`, rawBody])
  if (match === null) return mismatch('webhook-signature')
  // Only now: a wrong clock is the reason only when the rest is right.
  const apartMs = Math.abs(clock.now() - Number(timestamp) * 1000)
  if (apartMs > LIMITS.webhookToleranceMs) {
    const seconds = Math.round(apartMs / 1000)
    return refused(
      'stale',
      `the request was signed ${seconds} s away from this server’s time`,
      'Set the clocks of both hosts by NTP; an old request may be a replay.',
    )
  }
  return accepted(match)
}

export function standardSignature(key: Buffer, id: string, timestamp: number, rawBody: Buffer): string {
  return `v1,${hmacSha256(key, [`${id}.${timestamp}.`, rawBody]).toString('base64')}`
}

/** Other versions than v1 are passed over, as the specification asks; null = no v1 among them, or too many. */
function parseSignatures(text: string): Buffer[] | null {
  const entries = text.split(' ')
  if (entries.length > LIMITS.webhookSignatures) return null
  const digests = entries.flatMap((entry) => (entry.startsWith('v1,') ? [decodeBase64(entry.slice(3))] : []))
  const whole = digests.filter((digest): digest is Buffer => digest?.length === 32)
  return whole.length === 0 ? null : whole
}

/** Only the one canonical spelling. */
function decodeBase64(text: string): Buffer | null {
  const bytes = Buffer.from(text, 'base64')
  return text !== '' && bytes.toString('base64') === text ? bytes : null
}
