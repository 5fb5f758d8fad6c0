import { ShiplockError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { DeploymentId, ServerId } from '../../domain/ids.ts'
import type { Queryable } from '../database.ts'

/** Who asks: a server, in one of its boots. */
export interface Owner {
  readonly serverId: ServerId
  readonly bootId: string
}

export interface Lease {
  readonly deploymentId: DeploymentId
  readonly fence: number
}

/** Gives a deployment to an owner under a new fence, in the caller's transaction. */
export async function takeLease(tx: Queryable, deploymentId: DeploymentId, owner: Owner): Promise<number> {
  const [row] = await tx.query<{ fence: number }>(
    `insert into leases (deployment_id, owner, boot_id, fence, expires_at)
     values ($1, $2, $3, nextval('fence_numbers'), now() + make_interval(secs => $4))
     on conflict (deployment_id) do update
       set owner = excluded.owner, boot_id = excluded.boot_id, fence = excluded.fence, expires_at = excluded.expires_at
     returning fence`,
    [deploymentId, owner.serverId, owner.bootId, LIMITS.leaseMs / 1000],
    { name: 'take-lease' },
  )
  if (row === undefined) throw new Error('a lease was not written')
  return row.fence
}

/** The deployment has settled: nobody works on it any more. */
export async function endLease(tx: Queryable, deploymentId: DeploymentId): Promise<void> {
  await tx.query('delete from leases where deployment_id = $1', [deploymentId])
}

/** Locks the lease row and refuses anybody whose fence is not the present one (I6). First statement of every writing transaction. */
export async function assertFence(tx: Queryable, lease: Lease): Promise<void> {
  const [row] = await tx.query<{ fence: number }>('select fence from leases where deployment_id = $1 for update', [lease.deploymentId], {
    name: 'assert-fence',
  })
  if (row?.fence !== lease.fence) throw fenced(lease, row?.fence ?? null)
}

/**
 * Refuses whoever does not own the deployment, without locking the lease's row: heartbeats go on while the caller waits for something
 * outside. Only for callers whose successor would have to wait for another lock that they hold; `assertFence` still comes with the commit.
 */
export async function assertOwned(tx: Queryable, lease: Lease): Promise<void> {
  const [row] = await tx.query<{ fence: number }>('select fence from leases where deployment_id = $1', [lease.deploymentId])
  if (row?.fence !== lease.fence) throw fenced(lease, row?.fence ?? null)
}

function fenced(lease: Lease, present: number | null): ShiplockError {
  return new ShiplockError('FENCED', `another worker owns ${lease.deploymentId}`, { details: { held: lease.fence, present } })
}

export interface RenewedLease {
  readonly deploymentId: DeploymentId
  readonly fence: number
  readonly cancelRequested: boolean
}

/** Heartbeat: extends the leases of this boot among `ids`. Whatever is missing from the answer is no longer ours. */
export async function renewLeases(db: Queryable, owner: Owner, ids: readonly DeploymentId[]): Promise<RenewedLease[]> {
  const rows = await db.query<{ deployment_id: DeploymentId; fence: number; canceled: boolean }>(
    `update leases l set expires_at = now() + make_interval(secs => $3)
       from deployments d
      where l.owner = $1 and l.boot_id = $2 and d.id = l.deployment_id and l.deployment_id = any($4)
     returning l.deployment_id, l.fence, d.cancel_requested_at is not null as canceled`,
    [owner.serverId, owner.bootId, LIMITS.leaseMs / 1000, ids],
  )
  return rows.map((row) => ({ deploymentId: row.deployment_id, fence: row.fence, cancelRequested: row.canceled }))
}

/** The lease as it stands, if it belongs to this boot; null otherwise. */
export async function readOwnLease(db: Queryable, deploymentId: DeploymentId, owner: Owner): Promise<Lease | null> {
  const [row] = await db.query<{ fence: number }>(
    'select fence from leases where deployment_id = $1 and owner = $2 and boot_id = $3',
    [deploymentId, owner.serverId, owner.bootId],
    { name: 'read-own-lease' },
  )
  return row === undefined ? null : { deploymentId, fence: row.fence }
}

/** Lets another server take over at once: on an orderly stop. */
export async function abandonLeases(db: Queryable, owner: Owner): Promise<void> {
  await db.query('update leases set expires_at = now() where owner = $1 and boot_id = $2', [owner.serverId, owner.bootId])
}

/**
 * Takes over one deployment whose owner is dead: the lease ran out, or it is of an earlier boot of this very server.
 * Also one that lost its lease altogether. Never one of `running`, which this process works on. Null when there is none.
 */
export async function rescueLease(tx: Queryable, owner: Owner, running: readonly DeploymentId[]): Promise<Lease | null> {
  const [row] = await tx.query<{ id: DeploymentId }>(
    `select d.id from deployments d left join leases l on l.deployment_id = d.id
      where not d.settled and d.status <> 'pending' and d.id <> all($3)
        and (l.deployment_id is null or l.expires_at < now() or (l.owner = $1 and l.boot_id <> $2))
      order by d.position limit 1
        for update of d skip locked`,
    [owner.serverId, owner.bootId, running],
  )
  if (row === undefined) return null
  // The lease row may have been renewed or taken between the look and the lock; the lock above is on the deployment only.
  const [lease] = await tx.query<{ expired: boolean }>(
    `select expires_at < now() or (owner = $2 and boot_id <> $3) as expired from leases where deployment_id = $1 for update`,
    [row.id, owner.serverId, owner.bootId],
  )
  if (lease !== undefined && !lease.expired) return null
  return { deploymentId: row.id, fence: await takeLease(tx, row.id, owner) }
}

export async function nextFence(db: Queryable): Promise<number> {
  const [row] = await db.query<{ fence: number }>(`select nextval('fence_numbers') as fence`)
  if (row === undefined) throw new Error('no fence number')
  return row.fence
}
