import type { Queryable } from '../database.ts'

export interface TokenRecord {
  readonly id: string
  readonly name: string
  readonly hash: Buffer
}

/** By the sha256 of the token; also notes the use, at most once a minute. */
export async function findToken(db: Queryable, hash: Buffer): Promise<TokenRecord | null> {
  const [row] = await db.query<TokenRecord & { is_stale: boolean }>(
    `select id, name, hash, coalesce(last_used_at < now() - interval '1 minute', true) as is_stale from tokens where hash = $1`,
    [hash],
    { name: 'find-token' },
  )
  if (row === undefined) return null
  if (row.is_stale) await db.query('update tokens set last_used_at = now() where id = $1', [row.id])
  return row
}

/** Adding the same hash twice is success. */
export async function insertToken(db: Queryable, token: TokenRecord): Promise<void> {
  await db.query('insert into tokens (id, name, hash) values ($1, $2, $3) on conflict (hash) do nothing', [
    token.id,
    token.name,
    token.hash,
  ])
}
