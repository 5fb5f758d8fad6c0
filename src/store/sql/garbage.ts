import type { DeploymentId, ServerId } from '../../domain/ids.ts'
import type { Queryable } from '../database.ts'

export type GarbageReason = 'periodic' | 'asked' | 'disk'

export interface GarbageCounts {
  readonly images: number
  /** Names that went from images which stay. */
  readonly names: number
  readonly buildCacheBytes: number
  readonly networks: number
}

export interface GarbageRun {
  readonly at: string
  readonly reason: GarbageReason
  readonly bytes: number
  readonly removed: GarbageCounts
}

/** Ids and references of images that some kept release, unsettled deployment or instance names. */
export async function listNeededImages(db: Queryable): Promise<Set<string>> {
  const rows = await db.query<{ digest: string; reference: string }>(
    `select distinct artifact->>'digest' as digest, artifact->>'reference' as reference from (
       select artifact from releases where deleted_at is null
       union all select facts->'artifact' from deployments where not settled
       union all select r.artifact from instances i join releases r on r.id = i.release_id where i.state <> 'removed') named
      where artifact->>'kind' = 'image'`,
  )
  return new Set(rows.flatMap((row) => [row.digest, row.reference]))
}

/** Which of these images were built here for a release, some time; those that were only pulled are not among them. */
export async function filterBuiltImages(db: Queryable, ids: readonly string[]): Promise<Set<string>> {
  const rows = await db.query<{ digest: string }>(
    `select distinct artifact->>'digest' as digest from releases where artifact->>'digest' = any($1) and revision->>'kind' <> 'image'`,
    [ids],
  )
  return new Set(rows.map((row) => row.digest))
}

/** True while some deployment may have made an image that no row names yet. `except`: one that has not begun to build. */
export async function isImageBuilding(db: Queryable, except: DeploymentId | null): Promise<boolean> {
  const rows = await db.query(`select 1 from deployments where not settled and stage = 'build' and id is distinct from $1 limit 1`, [
    except,
  ])
  return rows.length > 0
}

export async function recordGarbageRun(tx: Queryable, serverId: ServerId, run: Omit<GarbageRun, 'at'>): Promise<void> {
  await tx.query('insert into garbage_runs (server_id, reason, bytes, removed) values ($1, $2, $3, $4)', [
    serverId,
    run.reason,
    run.bytes,
    JSON.stringify(run.removed),
  ])
}

/** Newest first. */
export async function listGarbageRuns(db: Queryable, serverId: ServerId, limit: number): Promise<GarbageRun[]> {
  const rows = await db.query<{ at: string; reason: GarbageReason; bytes: string; removed: GarbageCounts }>(
    'select at, reason, bytes, removed from garbage_runs where server_id = $1 order by id desc limit $2',
    [serverId, limit],
  )
  return rows.map((row) => ({ ...row, bytes: Number(row.bytes) }))
}
