import type { Queryable } from '../database.ts'
import type { Owner } from './leases.ts'

/** Makes this boot of this server known: leases refer to it, and those of its earlier boots are free from now on. */
export async function registerServer(db: Queryable, owner: Owner, name: string): Promise<void> {
  await db.query(
    `insert into servers (id, name, boot_id) values ($1, $2, $3)
     on conflict (id) do update set name = excluded.name, boot_id = excluded.boot_id, started_at = now()`,
    [owner.serverId, name, owner.bootId],
  )
}
