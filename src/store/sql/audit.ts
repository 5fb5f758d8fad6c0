import type { Queryable } from '../database.ts'

/** A change, as the audit log keeps it. `data` never holds a secret (I8). */
export interface NewAuditEntry {
  readonly actor: string
  /** Null = nobody's token: a webhook, the server itself. */
  readonly tokenId: string | null
  readonly address: string | null
  /** Kind and verb: `token.create`. */
  readonly action: string
  /** Name; null = the whole server. */
  readonly project: string | null
  readonly target: string | null
  readonly data: Readonly<Record<string, unknown>>
}

/** In the transaction of the change itself: both are there, or neither. */
export async function appendAudit(tx: Queryable, entry: NewAuditEntry): Promise<void> {
  await tx.query(
    `insert into audit_log (actor, token_id, address, action, project_id, project, target, data)
     values ($1, $2, $3, $4, (select id from projects where name = $5), $5, $6, $7)`,
    [entry.actor, entry.tokenId, entry.address, entry.action, entry.project, entry.target, JSON.stringify(entry.data)],
  )
}
