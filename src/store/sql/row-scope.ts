import type { Concern, ScopedRow } from '../../domain/access.ts'
import type { Queryable } from '../database.ts'

/** Names of the project and environment that a row belongs to; null = the whole server, or the whole project. */
const ROW_SCOPES: Readonly<Record<ScopedRow, string>> = {
  deployment: `select p.name as project, e.name as environment from deployments r
    join projects p on p.id = r.project_id join environments e on e.id = r.environment_id where r.id = $1`,
  token: `select p.name as project, e.name as environment from tokens r
    left join projects p on p.id = r.project_id left join environments e on e.id = r.environment_id where r.id = $1`,
  webhook: `select p.name as project, null as environment from webhooks r join projects p on p.id = r.project_id where r.id = $1`,
  notificationTarget: `select p.name as project, e.name as environment from notification_targets r
    join projects p on p.id = r.project_id left join environments e on e.id = r.environment_id where r.id = $1`,
}

/** Null = there is no such row. */
export async function findRowScope(db: Queryable, row: ScopedRow, id: string): Promise<Concern | null> {
  const [found] = await db.query<Concern>(ROW_SCOPES[row], [id])
  return found ?? null
}
