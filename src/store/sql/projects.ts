import { ShiplockError } from '../../core/errors.ts'
import { randomId } from '../../core/random-id.ts'
import { type EnvironmentId, ID_PREFIXES, type ProjectId } from '../../domain/ids.ts'
import type { PlanLimits } from '../../domain/plan.ts'
import type { Queryable } from '../database.ts'
import { removingOf } from './catalog.ts'
import { assertWithinPlan } from './plan-limits.ts'

export interface ProjectRecord {
  readonly id: ProjectId
  readonly name: string
  readonly limits: PlanLimits
  readonly services: number
  readonly environments: number
  readonly createdAt: string
}

const PROJECT = `select p.id, p.name, p.limits, p.created_at as "createdAt",
    (select count(*) from services s where s.project_id = p.id) as services,
    (select count(*) from environments e where e.project_id = p.id) as environments
  from projects p`

/** In the order of their names. `only` = that one; null = all. */
export async function listProjects(
  db: Queryable,
  filter: { readonly only: string | null; readonly after: string | null; readonly limit: number },
): Promise<ProjectRecord[]> {
  return db.query<ProjectRecord>(
    `${PROJECT} where ($1::text is null or p.name = $1) and ($2::text is null or p.name collate "C" > $2 collate "C")
      order by p.name collate "C" limit $3`,
    [filter.only, filter.after, filter.limit],
  )
}

export async function findProject(db: Queryable, name: string): Promise<ProjectRecord | null> {
  const [row] = await db.query<ProjectRecord>(`${PROJECT} where p.name = $1`, [name])
  return row ?? null
}

/** False when there is one of that name. */
export async function insertProject(tx: Queryable, name: string, limits: PlanLimits): Promise<boolean> {
  const rows = await tx.query('insert into projects (id, name, limits) values ($1, $2, $3) on conflict (name) do nothing returning id', [
    randomId<ProjectId>(ID_PREFIXES.ProjectId),
    name,
    JSON.stringify(limits),
  ])
  return rows.length > 0
}

/** False when there is no such project. */
export async function setProjectLimits(tx: Queryable, name: string, limits: PlanLimits): Promise<boolean> {
  const rows = await tx.query('update projects set limits = $2 where name = $1 returning id', [name, JSON.stringify(limits)])
  return rows.length > 0
}

/**
 * Removes a project with all its rows; what it built is collected later. Throws CONFLICT while anything of it runs or is under way.
 * Events and the audit log stay. False when there is no such project.
 */
export async function deleteProject(tx: Queryable, name: string): Promise<boolean> {
  // Against deployments that are being queued: their rows refer to this one.
  const [project] = await tx.query<{ id: ProjectId }>('select id from projects where name = $1 for update', [name])
  if (project === undefined) return false
  const running = await tx.query<{ service: string; environment: string }>(
    `select s.name as service, e.name as environment from service_environments se
       join services s on s.id = se.service_id join environments e on e.id = se.environment_id
      where se.project_id = $1 and (exists (select 1 from instances i where i.service_environment_id = se.id and i.state <> 'removed')
                                 or exists (select 1 from deployments d where d.service_environment_id = se.id and not d.settled))
      order by 1, 2 limit 5`,
    [project.id],
  )
  if (running.length > 0) {
    const names = running.map((one) => `${one.service}@${one.environment}`)
    throw new ShiplockError('CONFLICT', `project ${name} still runs ${names.join(', ')}`, {
      hint: 'Remove its environments first: `shiplock environment delete NAME --confirm NAME`.',
      details: { running: names },
    })
  }
  for (const statement of [
    'delete from instances where service_environment_id in (select id from service_environments where project_id = $1)',
    'update deployments set release_id = null, rollback_to = null, replaced_by = null where project_id = $1',
    'delete from releases where service_environment_id in (select id from service_environments where project_id = $1)',
    'delete from deployments where project_id = $1',
    'delete from service_environments where project_id = $1',
    'delete from services where project_id = $1',
    'delete from environments where project_id = $1',
    'delete from projects where id = $1',
  ]) {
    await tx.query(statement, [project.id])
  }
  return true
}

export interface EnvironmentRecord {
  readonly id: EnvironmentId
  readonly project: string
  readonly name: string
  readonly branch: string | null
  readonly preview: boolean
  readonly removing: { readonly since: string; readonly by: string } | null
  readonly services: number
  readonly createdAt: string
}

/** In the order of their names; `only` = that one. */
export async function listEnvironments(db: Queryable, project: string, only: string | null): Promise<EnvironmentRecord[]> {
  return db.query<EnvironmentRecord>(
    `select e.id, p.name as project, e.name, e.branch, e.is_preview as preview, ${removingOf('e')} as removing, e.created_at as "createdAt",
            (select count(*) from service_environments se where se.environment_id = e.id) as services
       from environments e join projects p on p.id = e.project_id
      where p.name = $1 and ($2::text is null or e.name = $2) order by e.name collate "C"`,
    [project, only],
  )
}

/** False when there is one of that name. Throws PLAN_LIMIT when it is one too many. */
export async function insertEnvironment(tx: Queryable, projectId: ProjectId, name: string, branch: string | null): Promise<boolean> {
  const rows = await tx.query(
    `insert into environments (id, project_id, name, branch) values ($1, $2, $3, $4) on conflict (project_id, name) do nothing returning id`,
    [randomId<EnvironmentId>(ID_PREFIXES.EnvironmentId), projectId, name, branch],
  )
  if (rows.length > 0) await assertWithinPlan(tx, projectId, 'environments')
  return rows.length > 0
}

/** False when there is no such environment. */
export async function setEnvironmentBranch(tx: Queryable, project: string, name: string, branch: string | null): Promise<boolean> {
  const rows = await tx.query(
    'update environments e set branch = $3 from projects p where p.id = e.project_id and p.name = $1 and e.name = $2 returning e.id',
    [project, name, branch],
  )
  return rows.length > 0
}
