import { ShiplockError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import { type Fields, fieldsOf } from './fields.ts'
import { firstHeader } from './header-values.ts'
import type { WebhookHeaders } from './webhook.ts'

const USE_JSON = 'Set the content type of the webhook at the git host to application/json.'

/** The payload as an object, or a refusal. Size, depth and number of parts are bounded before anything is built from it. */
export function readPayload(headers: WebhookHeaders, rawBody: Buffer): Fields {
  if (rawBody.length === 0) throw invalid('the body is empty')
  if (rawBody.length > LIMITS.webhookBodyBytes) throw invalid(`the body is larger than ${LIMITS.webhookBodyBytes} bytes`)
  const type = firstHeader(headers, ['content-type'])?.split(';')[0]?.trim().toLowerCase() ?? null
  if (type === 'application/x-www-form-urlencoded' || rawBody.subarray(0, 8).toString('latin1') === 'payload=') {
    throw unsupported('the payload is form-encoded')
  }
  if (type !== null && type !== 'application/json' && !/^application\/[\w.-]+\+json$/.test(type)) {
    throw unsupported('the content type is not application/json')
  }
  checkShape(rawBody)
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(rawBody))
  } catch {
    throw invalid('the body is not JSON in UTF-8')
  }
  return fieldsOf(value, 'payload')
}

/** 415 is what says so to programs. */
function unsupported(message: string): ShiplockError {
  return new ShiplockError('MEDIA_TYPE_UNSUPPORTED', `webhook: ${message}`, { hint: USE_JSON })
}

const QUOTE = 0x22
const BACKSLASH = 0x5c
const COMMA = 0x2c
/** `{`, `[` open; `}`, `]` close. */
const NESTING: Readonly<Record<number, 1 | -1>> = { 123: 1, 91: 1, 125: -1, 93: -1 }

/** One pass over the bytes: in UTF-8 none of these can be part of another character. */
function checkShape(body: Buffer): void {
  let depth = 0
  let nodes = 0
  for (let at = 0; at < body.length; at++) {
    const byte = body[at] ?? 0
    if (byte === QUOTE) {
      at = endOfText(body, at)
      continue
    }
    const step = NESTING[byte] ?? 0
    depth += step
    if (step === 1 || byte === COMMA) nodes += 1
    if (depth > LIMITS.webhookDepth) throw invalid(`the payload is nested deeper than ${LIMITS.webhookDepth} levels`)
    if (nodes > LIMITS.webhookNodes) throw invalid(`the payload has more than ${LIMITS.webhookNodes} parts`)
  }
}

/** The closing quote of the text that begins at `start`, or the end of the body. */
function endOfText(body: Buffer, start: number): number {
  for (let at = start + 1; at < body.length; at++) {
    if (body[at] === BACKSLASH) at += 1
    else if (body[at] === QUOTE) return at
  }
  return body.length
}

function invalid(message: string, hint?: string): ShiplockError {
  return new ShiplockError('INPUT_INVALID', `webhook: ${message}`, hint === undefined ? {} : { hint })
}
