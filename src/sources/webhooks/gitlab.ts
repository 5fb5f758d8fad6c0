import type { Clock } from '../../core/clock.ts'
import { identity } from './delivery-identity.ts'
import { parseGitlabEvent } from './gitlab-payload.ts'
import { firstHeader, headerValues } from './header-values.ts'
import { checkRequest, isUsable, mismatch } from './hex-signature.ts'
import { readPayload } from './payload.ts'
import { matchToken } from './signature.ts'
import { signingKey, standardSignature, verifyStandardSignature } from './standard-signature.ts'
import { accepted, refused, type Verdict, type Webhook, type WebhookHeaders, type WebhookRequest } from './webhook.ts'

const TOKEN = 'X-Gitlab-Token'
const SIGNATURE = 'webhook-signature'
const EVENT = 'X-Gitlab-Event'
const EVENT_NAMES: Readonly<Record<string, string>> = { push: 'Push Hook' }

/** GitLab: a signing token (`whsec_…`, HMAC) where the host has one, or the older secret token, sent as it is. */
export function gitlabWebhook(clock: Pick<Clock, 'now'>): Webhook {
  return {
    provider: 'gitlab',
    verify: (request) => verify(request, clock),
    identify: (headers, rawBody) => identify(headers, rawBody),
    parse: (headers, rawBody) => parseGitlabEvent(readPayload(headers, rawBody)),
    sign: ({ id, event, rawBody, secret }) => {
      const key = signingKey(secret)
      const timestamp = Math.floor(clock.now() / 1000)
      return {
        'content-type': 'application/json',
        [EVENT]: EVENT_NAMES[event] ?? event,
        'Idempotency-Key': id,
        ...(key === null
          ? { [TOKEN]: secret }
          : { 'webhook-id': id, 'webhook-timestamp': String(timestamp), [SIGNATURE]: standardSignature(key, id, timestamp, rawBody) }),
      }
    },
  }
}

/**
 * Where a signing token is set here, a signature that is sent has to hold: a right secret token beside it does not rescue it. A signing
 * token is never taken as a secret token, which would put it on the wire.
 */
function verify(request: WebhookRequest, clock: Pick<Clock, 'now'>): Verdict {
  const checked = checkRequest(request)
  if (checked !== null) return checked
  const secrets = request.secrets
    .map((secret, index) => ({ secret, index, key: signingKey(secret) }))
    .filter(({ secret }) => isUsable(secret))
  const signing = secrets.flatMap(({ index, key }) => (key === null ? [] : [{ index, key }]))
  const plain = secrets.filter(({ key }) => key === null)
  const isSigned = headerValues(request.headers, SIGNATURE).some((value) => value !== '')
  if (isSigned && signing.length > 0) {
    const keys = signing.map(({ key }) => key)
    const verdict = verifyStandardSignature(request.headers, request.rawBody, keys, clock)
    return verdict.isAccepted ? accepted(signing[verdict.secret]?.index ?? 0) : verdict
  }
  const tokens = headerValues(request.headers, TOKEN).filter((value) => value !== '')
  const [token] = tokens
  if (token === undefined || plain.length === 0) return unverifiable(token !== undefined, isSigned)
  if (tokens.length > 1)
    return refused('malformed', `the header ${TOKEN} stands there more than once`, 'Look for a proxy that repeats headers.')
  // Header bytes reach us as latin1 text; a secret with other characters was sent as UTF-8.
  const match = matchToken(
    Buffer.from(token, 'latin1'),
    plain.map(({ secret }) => secret),
  )
  return match === null ? mismatch(TOKEN) : accepted(plain[match]?.index ?? 0)
}

function unverifiable(hasToken: boolean, isSigned: boolean): Verdict {
  if (hasToken) {
    return refused(
      'unsigned',
      `the request has a secret token, but the secret set here is a signing token`,
      'Enter it at GitLab under “Signing token”, not under “Secret token”.',
    )
  }
  if (isSigned) {
    return refused(
      'unsigned',
      'the request is signed, but no signing token is set here',
      'Set the signing token (whsec_…) of the webhook as its secret.',
    )
  }
  return refused(
    'unsigned',
    `the request has neither ${SIGNATURE} nor ${TOKEN}`,
    'Enter the secret that Shiplock showed in the settings of the webhook at GitLab.',
  )
}

/**
 * `webhook-id` is signed and equals `Idempotency-Key` (GitLab 17.4 on), which stays the same over retries. The older event UUID is shared
 * by all deliveries that one event set off, so the body has to count too.
 */
function identify(headers: WebhookHeaders, rawBody: Buffer) {
  const event = firstHeader(headers, [EVENT])
  const key = firstHeader(headers, ['webhook-id', 'Idempotency-Key'])
  if (key !== null) return identity(key, event, rawBody)
  const uuid = firstHeader(headers, ['X-Gitlab-Event-UUID'])
  const byBody = identity(null, event, rawBody)
  return uuid === null ? byBody : identity(`${uuid}:${byBody.bodyDigest.slice(0, 32)}`, event, rawBody)
}
