import type { DeploymentId } from '../../domain/ids.ts'
import type { Queryable } from '../database.ts'

/** ms until BUILD_TIMEOUT is over, by the database's clock. */
export async function readTimeLeft(db: Queryable, id: DeploymentId): Promise<number> {
  const [row] = await db.query<{ left: number | null }>(
    `select (extract(epoch from deadline_at - now()) * 1000)::float8 as left from deployments where id = $1`,
    [id],
  )
  return row?.left ?? 0
}
