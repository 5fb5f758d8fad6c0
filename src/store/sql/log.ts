import { LIMITS } from '../../core/limits.ts'
import type { DeploymentId } from '../../domain/ids.ts'
import type { LogLine } from '../../domain/log-line.ts'
import { CHANNEL, type Notice } from '../channels.ts'
import type { Queryable } from '../database.ts'
import type { Owner } from './leases.ts'

export type NewLogLine = Omit<LogLine, 'sequence'>

/**
 * Appends lines under consecutive numbers, if `owner` still has the deployment's lease (I6); else nothing is written.
 * Past `LIMITS.deploymentLogBytes` the user's output is dropped and counted; what the engine says is always kept.
 */
export async function appendLog(db: Queryable, deploymentId: DeploymentId, owner: Owner, lines: readonly NewLogLine[]): Promise<boolean> {
  const rows = lines.map((line, n) => ({ n, at: line.at, stream: line.stream, source: line.source, text: line.text }))
  const notice: Notice = { kind: 'log', deploymentId }
  const added = await db.query(
    `with kept as (
       select e.*, row_number() over (order by e.n) as place
         from jsonb_to_recordset($2::jsonb) as e(n integer, at timestamptz, stream text, source text, text text), log_ends l
        where l.deployment_id = $1 and (l.bytes < $3 or e.stream in ('engine', 'command'))),
     ends as (
       update log_ends set last_sequence = last_sequence + (select count(*) from kept),
              bytes = bytes + coalesce((select sum(octet_length(text) + 1) from kept), 0),
              dropped = dropped + $4 - (select count(*) from kept)
        where deployment_id = $1 and exists (select 1 from leases where deployment_id = $1 and owner = $5 and boot_id = $6)
       returning last_sequence - (select count(*) from kept) as before),
     added as (
       insert into log_lines (deployment_id, sequence, at, stream, source, text)
       select $1, ends.before + kept.place, kept.at, kept.stream, kept.source, kept.text from kept, ends
       returning 1)
     select pg_notify($7, $8) from ends`,
    [
      deploymentId,
      JSON.stringify(rows),
      LIMITS.deploymentLogBytes,
      lines.length,
      owner.serverId,
      owner.bootId,
      CHANNEL,
      JSON.stringify(notice),
    ],
  )
  return added.length > 0
}

/** True when the newest line of the log is this one. Only the owner of the lease writes, so a batch that ends with it was appended. */
export async function logEndsWith(db: Queryable, deploymentId: DeploymentId, line: NewLogLine): Promise<boolean> {
  const rows = await db.query(
    `select 1 from log_ends e join log_lines l on l.deployment_id = e.deployment_id and l.sequence = e.last_sequence
      where e.deployment_id = $1 and l.at = $2 and l.stream = $3 and l.text = $4`,
    [deploymentId, line.at, line.stream, line.text],
  )
  return rows.length > 0
}
