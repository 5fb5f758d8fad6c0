import type { LogLine } from '../../domain/log-line.ts'
import type { Queryable } from '../database.ts'

/** A stored line always has its number. */
export type StoredLine = LogLine & { readonly sequence: number }

/** Lines of a deployment after a number, oldest first. Numbers are given under the row lock of log_ends, so their order is commit order (I11). */
export async function listLogLines(db: Queryable, deploymentId: string, after: number, limit: number): Promise<StoredLine[]> {
  return db.query<StoredLine>(
    `select sequence, at, stream, source, text from log_lines where deployment_id = $1 and sequence > $2 order by sequence limit $3`,
    [deploymentId, after, limit],
    { name: 'list-log-lines' },
  )
}

/** Where a log stands: its last number, and whether its deployment will add to it by itself. Null = no such deployment. */
export async function findLogEnd(
  db: Queryable,
  deploymentId: string,
): Promise<{ readonly last: number; readonly settled: boolean; readonly status: string } | null> {
  const [row] = await db.query<{ last: number; settled: boolean; status: string }>(
    `select coalesce(l.last_sequence, 0) as last, d.settled, d.status
       from deployments d left join log_ends l on l.deployment_id = d.id where d.id = $1`,
    [deploymentId],
    { name: 'find-log-end' },
  )
  return row ?? null
}
