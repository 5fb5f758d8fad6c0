import { createHash } from 'node:crypto'
import { LIMITS } from '../../core/limits.ts'
import { harmless } from './harmless-text.ts'
import type { DeliveryIdentity } from './webhook.ts'

/** `id` as the host gave it. One that is missing or unusable is replaced by the body's digest: equal bodies then count as one delivery. */
export function identity(id: string | null, event: string | null, rawBody: Buffer): DeliveryIdentity {
  const bodyDigest = createHash('sha256').update(rawBody).digest('hex')
  const isUsable = id !== null && id.length <= LIMITS.webhookDeliveryIdCharacters && /^[\x21-\x7e]+$/.test(id)
  return { id: isUsable ? id : `body:${bodyDigest}`, event: harmless(event ?? '', 60), bodyDigest }
}
