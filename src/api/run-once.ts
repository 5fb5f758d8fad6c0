import { createHash } from 'node:crypto'
import { ShiplockError } from '../core/errors.ts'
import type { Database, Queryable } from '../store/database.ts'
import { findAnswer, storeAnswer } from '../store/sql/idempotency.ts'

export interface OnceRequest {
  readonly tokenId: string
  /** The Idempotency-Key header. */
  readonly key: string | undefined
  /** What was asked: method, path and everything that was sent. */
  readonly request: string
  readonly status: number
}

const KEY = /^[!-~]{1,200}$/

/**
 * Runs an effect in one transaction. With a key, the answer is written in the same transaction, so that the same request again gets the
 * same answer and nothing happens twice. A refusal leaves no answer: the request may be made again. `keep` makes of the answer what is
 * kept of it: without the secrets that are shown once (I8).
 */
export async function runOnce<Body>(
  database: Database,
  once: OnceRequest,
  work: (tx: Queryable) => Promise<Body>,
  keep: (body: Body) => Body = (body) => body,
): Promise<Body> {
  const { key, tokenId, status } = once
  if (key === undefined) return database.transaction(work)
  if (!KEY.test(key))
    throw new ShiplockError('INPUT_INVALID', 'Idempotency-Key: must be 1 to 200 printable ASCII characters without spaces')
  const request = createHash('sha256').update(once.request).digest('hex')
  return database.transaction(async (tx) => {
    const known = await findAnswer(tx, tokenId, key)
    if (known !== null) {
      if (known.request === request) return known.body as Body
      throw new ShiplockError('CONFLICT', 'this Idempotency-Key was used for another request', { hint: 'Draw a new key for each request.' })
    }
    const body = await work(tx)
    await storeAnswer(tx, tokenId, key, { request, status, body: keep(body) })
    return body
  })
}
