import { createHash, createHmac, timingSafeEqual } from 'node:crypto'

/**
 * Which key made the signature; null = none. Every signature is compared with every key, whatever the outcome of the ones before,
 * and each comparison takes the same time wherever the bytes differ.
 */
export function matchHmac(
  signatures: readonly Buffer[],
  keys: readonly (string | Buffer)[],
  parts: readonly (string | Buffer)[],
): number | null {
  let found: number | null = null
  for (const [index, key] of keys.entries()) {
    const expected = hmacSha256(key, parts)
    for (const signature of signatures) {
      const isEqual = signature.length === expected.length && timingSafeEqual(signature, expected)
      found = isEqual && found === null ? index : found
    }
  }
  return found
}

/** Which secret was sent; null = none. Digests are compared, so neither content nor length of a secret shows in the time taken. */
export function matchToken(given: Buffer, secrets: readonly string[]): number | null {
  const digest = sha256(given)
  let found: number | null = null
  for (const [index, secret] of secrets.entries()) {
    const isEqual = timingSafeEqual(digest, sha256(Buffer.from(secret)))
    found = isEqual && found === null ? index : found
  }
  return found
}

/** `parts` are taken as one text. */
export function hmacSha256(key: string | Buffer, parts: readonly (string | Buffer)[]): Buffer {
  const hmac = createHmac('sha256', key)
  for (const part of parts) hmac.update(part)
  return hmac.digest()
}

/** 64 hex digits in either case as bytes; null = not that. */
export function parseHexDigest(text: string): Buffer | null {
  return /^[0-9a-fA-F]{64}$/.test(text) ? Buffer.from(text, 'hex') : null
}

function sha256(bytes: Buffer): Buffer {
  return createHash('sha256').update(bytes).digest()
}
