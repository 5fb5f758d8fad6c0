import type { Concern } from '../../domain/access.ts'
import type { Queryable } from '../database.ts'

/** A change, as the audit log keeps it. `data` never holds a secret (I8). */
export interface NewAuditEntry extends Concern {
  readonly actor: string
  /** Null = nobody's token: a webhook, the server itself. */
  readonly tokenId: string | null
  readonly address: string | null
  /** Kind and verb: `token.create`. */
  readonly action: string
  readonly target: string | null
  readonly data: Readonly<Record<string, unknown>>
}

export interface AuditEntry extends NewAuditEntry {
  readonly position: number
  readonly at: string
}

/** In the transaction of the change itself: both are there, or neither. */
export async function appendAudit(tx: Queryable, entry: NewAuditEntry): Promise<void> {
  await tx.query(
    `insert into audit_log (actor, token_id, address, action, project_id, project, environment, target, data)
     values ($1, $2, $3, $4, (select id from projects where name = $5), $5, $6, $7, $8)`,
    [entry.actor, entry.tokenId, entry.address, entry.action, entry.project, entry.environment, entry.target, JSON.stringify(entry.data)],
  )
}

export interface AuditFilter extends Concern {
  /** The only project that may be looked into: a new one does not see what was said of an earlier one of its name. */
  readonly within: string | null
  readonly actor: string | null
  /** `token.create`, or `token` for all of a kind. */
  readonly action: string | null
  readonly since: string | null
  readonly before: number | null
  readonly limit: number
}

/** Newest first. */
export async function listAudit(db: Queryable, filter: AuditFilter): Promise<AuditEntry[]> {
  return db.query<AuditEntry>(
    `select position, at, actor, token_id as "tokenId", address, action, project, environment, target, data from audit_log
      where ($1::text is null or project = $1) and ($2::text is null or environment = $2)
        and ($3::text is null or project_id = (select id from projects where name = $3))
        and ($4::text is null or actor = $4) and ($5::text is null or action = $5 or starts_with(action, $5 || '.'))
        and ($6::timestamptz is null or at >= $6) and ($7::bigint is null or position < $7)
      order by position desc limit $8`,
    [filter.project, filter.environment, filter.within, filter.actor, filter.action, filter.since, filter.before, filter.limit],
  )
}

/** Bounded per call, so that none takes long. */
export async function deleteOldAudit(db: Queryable, keptMs: number): Promise<void> {
  await db.query(
    `delete from audit_log where position in
       (select position from audit_log where at < now() - make_interval(secs => $1) order by at limit 1000)`,
    [keptMs / 1000],
  )
}
