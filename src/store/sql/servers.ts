import { LIMITS } from '../../core/limits.ts'
import type { NodeId, ServerId } from '../../domain/ids.ts'
import type { Queryable } from '../database.ts'
import type { Owner } from './leases.ts'

/** Makes this boot of this server known: leases refer to it, and those of its earlier boots are free from now on. */
export async function registerServer(db: Queryable, owner: Owner, name: string, nodeId: NodeId | null = null): Promise<void> {
  await db.query(
    `insert into servers (id, name, boot_id, node_id, seen_at) values ($1, $2, $3, $4, now())
     on conflict (id) do update set name = excluded.name, boot_id = excluded.boot_id, node_id = excluded.node_id, seen_at = now(),
       is_working = false, started_at = now()`,
    [owner.serverId, name, owner.bootId, nodeId],
  )
}

/** Of SQL: whether the server in a column shares its node, and so its instances, with the server of a parameter. A server without a node is one by itself. */
export function onSameNode(column: string, parameter: `$${number}`): string {
  return `${column} in (select other.id from servers own join servers other
     on coalesce(other.node_id, other.id) = coalesce(own.node_id, own.id) where own.id = ${parameter})`
}

/** Says that this boot lives, and whether it works. */
export async function noteSeen(db: Queryable, owner: Owner, isWorking: boolean): Promise<void> {
  await db.query('update servers set seen_at = now(), is_working = $3 where id = $1 and boot_id = $2', [
    owner.serverId,
    owner.bootId,
    isWorking,
  ])
}

/** An orderly end: nobody waits for it to be missed. */
export async function noteGone(db: Queryable, owner: Owner): Promise<void> {
  await db.query(`update servers set seen_at = '-infinity', is_working = false where id = $1 and boot_id = $2`, [
    owner.serverId,
    owner.bootId,
  ])
}

/**
 * Frees what the other servers of this node worked on. Only for who holds the node's lock: then none of them carries anything out any
 * more, and nobody need wait for their leases to run out.
 */
export async function freeLeasesOfNode(db: Queryable, serverId: ServerId): Promise<void> {
  await db.query(`update leases set expires_at = now() - interval '1 millisecond' where owner <> $1 and ${onSameNode('owner', '$1')}`, [
    serverId,
  ])
  await db.query(`update servers set is_working = false where id <> $1 and is_working and ${onSameNode('id', '$1')}`, [serverId])
}

export interface ServerState {
  readonly id: ServerId
  readonly name: string
  readonly isWorking: boolean
  readonly isAlive: boolean
  readonly startedAt: string
}

/** Those that were seen within a day, in order of their start. */
export async function listServers(db: Queryable): Promise<ServerState[]> {
  return db.query<ServerState>(
    `select id, name, is_working as "isWorking", seen_at > now() - make_interval(secs => $1) as "isAlive", started_at as "startedAt"
       from servers where seen_at > now() - interval '1 day' order by started_at, id`,
    [LIMITS.leaseMs / 1000],
  )
}
