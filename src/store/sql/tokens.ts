import type { Grant } from '../../domain/access.ts'
import type { Queryable } from '../database.ts'

/** A token with the names of what it counts for. */
export interface TokenRecord extends Grant {
  readonly id: string
  readonly name: string
  readonly hash: Buffer
  /** Whose it is; its role is then the member's. */
  readonly member: string | null
  readonly isExpired: boolean
  readonly isRevoked: boolean
}

const SELECT = `select t.id, t.name, t.hash, coalesce(m.role, t.role) as role, t.verbs, p.name as project, e.name as environment, m.name as member,
    t.expires_at as "expiresAt", coalesce(t.expires_at <= now(), false) as "isExpired", t.revoked_at is not null as "isRevoked",
    coalesce(t.last_used_at < now() - interval '1 minute', true) as is_stale
  from tokens t left join members m on m.id = t.member_id
    left join projects p on p.id = t.project_id left join environments e on e.id = t.environment_id`

/** By the sha256 of the token; also notes the use, at most once a minute. */
export async function findToken(db: Queryable, hash: Buffer): Promise<TokenRecord | null> {
  const [row] = await db.query<TokenRecord & { is_stale: boolean }>(`${SELECT} where t.hash = $1`, [hash], { name: 'find-token' })
  if (row === undefined) return null
  if (row.is_stale && !row.isExpired && !row.isRevoked) await db.query('update tokens set last_used_at = now() where id = $1', [row.id])
  return row
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
