import type { Grant, Role, Verb } from '../../domain/access.ts'
import type { Queryable } from '../database.ts'

/** A token with the names of what it counts for. Its hash never leaves the store but to be compared. */
export interface TokenRecord extends Grant {
  readonly id: string
  readonly name: string
  /** Whose it is; its role is then the member's. */
  readonly member: string | null
  readonly createdBy: string | null
  readonly createdAt: string
  readonly lastUsedAt: string | null
  readonly revokedAt: string | null
  readonly isExpired: boolean
}

const SELECT = `select t.id, t.name, coalesce(m.role, t.role) as role, t.verbs, p.name as project, e.name as environment, m.name as member,
    t.created_by as "createdBy", t.created_at as "createdAt", t.last_used_at as "lastUsedAt", t.expires_at as "expiresAt",
    t.revoked_at as "revokedAt", coalesce(t.expires_at <= now(), false) as "isExpired"`
const FROM = `from tokens t left join members m on m.id = t.member_id
    left join projects p on p.id = t.project_id left join environments e on e.id = t.environment_id`

/** By the sha256 of the token, in hex, those of these that there are; also notes the use, at most once a minute. */
export async function findTokens(db: Queryable, hashes: readonly string[]): Promise<ReadonlyMap<string, TokenRecord>> {
  const rows = await db.query<TokenRecord & { hash: string; is_stale: boolean }>(
    `${SELECT}, encode(t.hash, 'hex') as hash, coalesce(t.last_used_at < now() - interval '1 minute', true) as is_stale ${FROM}
      where t.hash = any($1)`,
    [hashes.map((hash) => Buffer.from(hash, 'hex'))],
    { name: 'find-tokens' },
  )
  const stale = rows.filter((row) => row.is_stale && !row.isExpired && row.revokedAt === null).map((row) => row.id)
  if (stale.length > 0) await db.query('update tokens set last_used_at = now() where id = any($1)', [stale])
  return new Map(rows.map(({ hash, is_stale: _, ...token }) => [hash, token]))
}

/** Those of these that still count, with what they may now. */
export async function listValidTokens(db: Queryable, ids: readonly string[]): Promise<TokenRecord[]> {
  const rows = await db.query<TokenRecord>(`${SELECT} ${FROM} where t.id = any($1) and t.revoked_at is null`, [ids])
  return rows.filter((row) => !row.isExpired)
}

export interface TokenFilter {
  readonly project: string | null
  readonly environment: string | null
  /** Id after which to continue; ids grow with time. */
  readonly before: string | null
  readonly limit: number
}

/** Newest first. */
export async function listTokens(db: Queryable, filter: TokenFilter): Promise<TokenRecord[]> {
  return db.query<TokenRecord>(
    `${SELECT} ${FROM} where ($1::text is null or p.name = $1) and ($2::text is null or e.name = $2) and ($3::text is null or t.id < $3)
      order by t.id desc limit $4`,
    [filter.project, filter.environment, filter.before, filter.limit],
  )
}

export async function getToken(db: Queryable, id: string): Promise<TokenRecord | null> {
  const [row] = await db.query<TokenRecord>(`${SELECT} ${FROM} where t.id = $1`, [id])
  return row ?? null
}

export interface NewToken {
  readonly id: string
  readonly name: string
  readonly hash: Buffer
  /** Null = the whole server. */
  readonly projectId: string | null
  readonly environmentId: string | null
  readonly memberId: string | null
  readonly role: Role
  readonly verbs: readonly Verb[] | null
  readonly createdBy: string
  /** On the database's clock; null = never. */
  readonly expiresInSeconds: number | null
}

export async function insertToken(tx: Queryable, token: NewToken): Promise<void> {
  await tx.query(
    `insert into tokens (id, name, hash, project_id, environment_id, member_id, role, verbs, created_by, expires_at)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, now() + make_interval(secs => $10))`,
    [
      token.id,
      token.name,
      token.hash,
      token.projectId,
      token.environmentId,
      token.memberId,
      token.role,
      token.verbs,
      token.createdBy,
      token.expiresInSeconds,
    ],
  )
}

/** An owner of the whole server. Adding the same hash twice is success. */
export async function insertAdminToken(
  db: Queryable,
  token: { readonly id: string; readonly name: string; readonly hash: Buffer },
): Promise<void> {
  await db.query('insert into tokens (id, name, hash) values ($1, $2, $3) on conflict (hash) do nothing', [
    token.id,
    token.name,
    token.hash,
  ])
}

export async function countTokens(db: Queryable, projectId: string | null): Promise<number> {
  const [row] = await db.query<{ count: number }>(
    'select count(*) as count from tokens where project_id is not distinct from $1 and revoked_at is null',
    [projectId],
  )
  return row?.count ?? 0
}

/** Doing it twice is success. */
export async function revokeToken(tx: Queryable, id: string): Promise<void> {
  await tx.query('update tokens set revoked_at = coalesce(revoked_at, now()) where id = $1', [id])
}

export async function deleteEndedTokens(db: Queryable, keptMs: number): Promise<void> {
  await db.query('delete from tokens where least(revoked_at, expires_at) < now() - make_interval(secs => $1)', [keptMs / 1000])
}
