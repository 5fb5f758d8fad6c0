import { LIMITS } from '../../core/limits.ts'
import type { NodeId } from '../../domain/ids.ts'
import type { Queryable } from '../database.ts'

export interface NodeRow {
  readonly id: NodeId
  readonly host: string
  readonly directory: string
  /** As a setting writes it. */
  readonly edgeListen: string
  /** One of its servers was seen within the time of a lease. */
  readonly isAlive: boolean
}

/** Lock number: who joins looks and writes alone. */
const JOIN_LOCK = 7303

export async function lockNodes(tx: Queryable): Promise<void> {
  await tx.query('select pg_advisory_xact_lock($1)', [JOIN_LOCK])
}

/** Those with living servers first, then the youngest. */
export async function listNodes(db: Queryable): Promise<NodeRow[]> {
  return db.query<NodeRow>(
    `select n.id, n.host, n.directory, n.edge_listen as "edgeListen", coalesce(s.seen > now() - make_interval(secs => $1), false) as "isAlive"
       from nodes n left join (select node_id, max(seen_at) as seen from servers group by node_id) s on s.node_id = n.id
      order by 5 desc, n.created_at desc`,
    [LIMITS.leaseMs / 1000],
  )
}

export async function saveNode(tx: Queryable, node: Omit<NodeRow, 'isAlive'>): Promise<void> {
  await tx.query(
    `insert into nodes (id, host, directory, edge_listen) values ($1, $2, $3, $4)
     on conflict (id) do update set host = excluded.host, directory = excluded.directory, edge_listen = excluded.edge_listen`,
    [node.id, node.host, node.directory, node.edgeListen],
  )
}

/** All servers of nodes without a living one become this node's, and with them what they started: somebody has to watch it. */
export async function inheritNodes(tx: Queryable, id: NodeId): Promise<void> {
  await tx.query('update servers set node_id = $1 where node_id is distinct from $1', [id])
  await tx.query('delete from nodes where id <> $1', [id])
}
