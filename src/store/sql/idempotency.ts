import type { Queryable } from '../database.ts'

export interface StoredAnswer {
  /** Names the request: the same key with another one is a conflict. */
  readonly request: string
  readonly status: number
  readonly body: unknown
}

/** Looks for the answer under a lock that lasts until commit, so that two requests with one key take turns. */
export async function findAnswer(tx: Queryable, tokenId: string, key: string): Promise<StoredAnswer | null> {
  await tx.query('select pg_advisory_xact_lock(hashtextextended($1, 7303))', [`${tokenId} ${key}`])
  const [row] = await tx.query<StoredAnswer>('select request, status, body from idempotency_keys where token_id = $1 and key = $2', [
    tokenId,
    key,
  ])
  return row ?? null
}

/** Written in the transaction of the effect it answers for: both are there, or neither. */
export async function storeAnswer(tx: Queryable, tokenId: string, key: string, answer: StoredAnswer): Promise<void> {
  await tx.query('insert into idempotency_keys (token_id, key, request, status, body) values ($1, $2, $3, $4, $5)', [
    tokenId,
    key,
    answer.request,
    answer.status,
    JSON.stringify(answer.body),
  ])
}

/** Keys are kept for a day; returns how many went. */
export async function deleteOldAnswers(db: Queryable): Promise<number> {
  const [row] = await db.query<{ count: number }>(
    `with gone as (delete from idempotency_keys where created_at < now() - interval '1 day' returning 1) select count(*) as count from gone`,
  )
  return row?.count ?? 0
}
