import { LIMITS } from '../../core/limits.ts'
import { headerValues } from './header-values.ts'
import { matchHmac, parseHexDigest } from './signature.ts'
import { accepted, refused, type Verdict, type WebhookRequest } from './webhook.ts'

/** A header that carries an HMAC-SHA256 of the raw body as hex. */
export interface HexSignatureHeader {
  readonly name: string
  /** What stands before the digits: `sha256=`, or nothing. */
  readonly prefix: string
}

const ASK_FOR_SECRET = 'Enter the secret that Shiplock showed in the settings of the webhook at the git host.'

/**
 * Every one of `wanted` that the request has must fit one secret: a bad signature is not rescued by a good one in another header.
 * A header that stands there twice is refused, since two readers could take different ones.
 */
export function verifyHexSignatures(request: WebhookRequest, wanted: readonly HexSignatureHeader[], host: string): Verdict {
  const checked = checkRequest(request)
  if (checked !== null) return checked
  const usable = request.secrets.map((secret, index) => ({ secret, index })).filter(({ secret }) => isUsable(secret))
  let found: number | null = null
  for (const { name, prefix } of wanted) {
    const values = headerValues(request.headers, name).filter((value) => value !== '' && value !== prefix)
    if (values.length === 0) continue
    const [value = ''] = values
    if (values.length > 1 || value.includes(',')) {
      return refused('malformed', `the header ${name} stands there more than once`, 'Look for a proxy that repeats headers.')
    }
    const digest = value.startsWith(prefix) ? parseHexDigest(value.slice(prefix.length)) : null
    if (digest === null) {
      const form = prefix === '' ? '64 hex digits' : `${prefix} and 64 hex digits`
      return refused('malformed', `the header ${name} is not ${form}`, `Check that this webhook comes from ${host}.`)
    }
    const match = matchHmac(
      [digest],
      usable.map(({ secret }) => secret),
      [request.rawBody],
    )
    // Gitea signs the JSON within the form, GitHub the form: neither could be read.
    if (match === null) return isForm(request) ? refused('mismatch', FORM_ENCODED, USE_JSON) : mismatch(name)
    found ??= usable[match]?.index ?? 0
  }
  if (found === null) {
    const names = wanted.map(({ name }) => name).join(' or ')
    return refused('unsigned', `the request is not signed: it has no header ${names}`, ASK_FOR_SECRET)
  }
  return accepted(found)
}

const FORM_ENCODED = 'the request is form-encoded, which its signature does not cover'
const USE_JSON = 'Set the content type of the webhook at the git host to application/json.'

function isForm({ headers, rawBody }: WebhookRequest): boolean {
  const type = headerValues(headers, 'content-type')[0]?.split(';')[0]?.trim().toLowerCase()
  return type === 'application/x-www-form-urlencoded' || rawBody.subarray(0, 8).toString('latin1') === 'payload='
}

/** What is refused before any signature is looked at; null = nothing. */
export function checkRequest({ rawBody, secrets }: WebhookRequest): Verdict | null {
  if (!secrets.some(isUsable)) {
    return refused(
      'no-secret',
      'no secret is set for this webhook',
      'Make one with `shiplock webhook rotate` and enter it at the git host.',
    )
  }
  if (rawBody.length > LIMITS.webhookBodyBytes) {
    return refused('too-large', `the body is larger than ${LIMITS.webhookBodyBytes} bytes`, 'Push fewer commits at once.')
  }
  return null
}

export function isUsable(secret: string): boolean {
  return secret.trim() !== ''
}

export function mismatch(header: string): Verdict {
  return refused('mismatch', `the header ${header} fits none of the secrets of this webhook`, ASK_FOR_SECRET)
}
