import type { DeploymentId } from '../../domain/ids.ts'
import type { Queryable } from '../database.ts'

/** ms since the swap by the database's clock; 0 before it. */
export async function readSwapAge(db: Queryable, id: DeploymentId): Promise<number> {
  const [row] = await db.query<{ age: number | null }>(
    `select (extract(epoch from now() - swapped_at) * 1000)::float8 as age from deployments where id = $1`,
    [id],
    { name: 'read-swap-age' },
  )
  return Math.max(0, row?.age ?? 0)
}
