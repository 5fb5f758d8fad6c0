import { ShiplockError } from '../../core/errors.ts'
import type { Queryable } from '../database.ts'

const COUNTS = {
  services: 'select count(*) as count from services where project_id = $1',
  environments: 'select count(*) as count from environments where project_id = $1',
} as const

/**
 * To be called after a row was added, in its transaction: throws PLAN_LIMIT when it is one too many. The lock on the project makes two
 * that add at once take turns; it does not hold up deployments.
 */
export async function assertWithinPlan(tx: Queryable, projectId: string, kind: keyof typeof COUNTS): Promise<void> {
  const [project] = await tx.query<{ name: string; max: number | null }>(
    'select name, (limits->>$2)::int as max from projects where id = $1 for no key update',
    [projectId, kind],
  )
  if (project === undefined || project.max === null) return
  const [row] = await tx.query<{ count: number }>(COUNTS[kind], [projectId])
  if ((row?.count ?? 0) <= project.max) return
  throw new ShiplockError('PLAN_LIMIT', `project ${project.name} may have ${project.max} ${kind}, and has them`, {
    details: { project: project.name, limit: kind, max: project.max },
  })
}
