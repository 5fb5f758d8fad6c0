import { ShiplockError } from '../../core/errors.ts'
import { randomId } from '../../core/random-id.ts'
import type { Source } from '../../domain/deployment.ts'
import { type EnvironmentId, ID_PREFIXES, type ProjectId, type ServiceEnvironmentId, type ServiceId } from '../../domain/ids.ts'
import type { Queryable } from '../database.ts'
import { assertWithinPlan } from './plan-limits.ts'

/** A service in an environment, with the names people use. */
export interface ServiceEnvironment {
  readonly id: ServiceEnvironmentId
  readonly projectId: ProjectId
  readonly environmentId: EnvironmentId
  readonly serviceId: ServiceId
  readonly project: string
  readonly environment: string
  readonly service: string
  readonly host: string
  /** Where the next deployment here takes its code from unless told otherwise. */
  readonly source: Source | null
  readonly liveDeploymentId: string | null
  readonly previousDeploymentId: string | null
  readonly hold: { readonly reason: string; readonly since: string; readonly by: string } | null
  readonly instances: number | null
  /** On its way out: nothing new is deployed here. */
  readonly removing: { readonly since: string; readonly by: string } | null
}

/** Of SQL: when a row `se` or `e` was put on its way out, and by whom. */
export const removingOf = (row: 'se' | 'e') =>
  `case when ${row}.removing_at is not null then json_build_object('since', to_char(${row}.removing_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'), 'by', ${row}.removing_by) end`

const COLUMNS = `se.id, se.project_id as "projectId", se.environment_id as "environmentId", se.service_id as "serviceId",
  p.name as project, e.name as environment, s.name as service, se.host, se.source,
  se.live_deployment_id as "liveDeploymentId", se.previous_deployment_id as "previousDeploymentId", se.hold, se.instances,
  ${removingOf('se')} as removing`
const JOINS = `service_environments se join projects p on p.id = se.project_id join environments e on e.id = se.environment_id
  join services s on s.id = se.service_id`

export async function findProjectId(db: Queryable, name: string): Promise<ProjectId | null> {
  const [row] = await db.query<{ id: ProjectId }>('select id from projects where name = $1', [name])
  return row?.id ?? null
}

export async function findServiceEnvironment(
  db: Queryable,
  names: { readonly project: string; readonly environment: string; readonly service: string },
): Promise<ServiceEnvironment | null> {
  const rows = await db.query<ServiceEnvironment>(`select ${COLUMNS} from ${JOINS} where p.name = $1 and e.name = $2 and s.name = $3`, [
    names.project,
    names.environment,
    names.service,
  ])
  return rows[0] ?? null
}

export async function getServiceEnvironment(db: Queryable, id: ServiceEnvironmentId): Promise<ServiceEnvironment | null> {
  const rows = await db.query<ServiceEnvironment>(`select ${COLUMNS} from ${JOINS} where se.id = $1`, [id], {
    name: 'get-service-environment',
  })
  return rows[0] ?? null
}

export async function listServiceEnvironments(db: Queryable, project: string | null): Promise<ServiceEnvironment[]> {
  return db.query<ServiceEnvironment>(
    `select ${COLUMNS} from ${JOINS} where $1::text is null or p.name = $1 order by p.name, s.name, e.name`,
    [project],
  )
}

/** Row lock: the right to change this service environment's route and live release. Held for one short transaction. */
export async function lockServiceEnvironment(tx: Queryable, id: ServiceEnvironmentId): Promise<ServiceEnvironment> {
  // Whoever stalls while holding it (a paused process) loses it with its transaction, so that a rescuer can go on (I5).
  await tx.query(`set local idle_in_transaction_session_timeout = '10s'`)
  await tx.query('select 1 from service_environments where id = $1 for update', [id])
  const found = await getServiceEnvironment(tx, id)
  if (found === null) throw new ShiplockError('CONFLICT', 'the service was just removed from this environment')
  return found
}

/** Makes project, environment, service and their meeting, as far as missing. `source`: of this environment alone from now on. Throws PLAN_LIMIT. */
export async function ensureServiceEnvironment(
  tx: Queryable,
  names: { readonly project: string; readonly environment: string; readonly service: string },
  source: Source | null,
  host: string,
): Promise<ServiceEnvironment> {
  const scope = await ensureScope(tx, names)
  // Until commit nobody takes the environment away.
  const [environment] = await tx.query<{ isRemoving: boolean }>(
    'select removing_at is not null as "isRemoving" from environments where id = $1 for key share',
    [scope.environmentId],
  )
  if (environment?.isRemoving !== false) throw new ShiplockError('CONFLICT', `environment ${names.environment} is being removed`)
  const id = randomId<ServiceEnvironmentId>(ID_PREFIXES.ServiceEnvironmentId)
  const [taken] = await tx.query('select 1 from service_environments where host = $1 and (service_id, environment_id) <> ($2, $3)', [
    host,
    scope.serviceId,
    scope.environmentId,
  ])
  await tx.query(
    `insert into service_environments (id, project_id, environment_id, service_id, host, source) values ($1, $2, $3, $4, $5, $6)
     on conflict (service_id, environment_id) do update set source = coalesce(excluded.source, service_environments.source)`,
    // `api-shop` of one project and `api` of project `shop` would have the same name: who comes later gets one of its own (I10).
    [
      id,
      scope.projectId,
      scope.environmentId,
      scope.serviceId,
      taken === undefined ? host : distinctHost(host, id),
      source === null ? null : JSON.stringify(source),
    ],
  )
  const found = await findServiceEnvironment(tx, names)
  if (found === null) throw new Error('a service environment was not written')
  return found
}

const LABEL_MAX = 63

/** The same host with the end of an id in its first label. */
function distinctHost(host: string, id: string): string {
  const [label = '', ...rest] = host.split('.')
  const suffix = `-${id.slice(-6)}`
  return [`${label.slice(0, LABEL_MAX - suffix.length)}${suffix}`, ...rest].join('.')
}

interface ScopeIds {
  readonly projectId: ProjectId
  readonly environmentId: EnvironmentId | null
  readonly serviceId: ServiceId | null
}

/** Makes what is named as far as it is missing; null = not named. Throws PLAN_LIMIT for one more than the project may have. */
export async function ensureScope(
  tx: Queryable,
  names: { readonly project: string; readonly environment: string | null; readonly service: string | null },
): Promise<ScopeIds> {
  const projectId = await ensureProject(tx, names.project)
  const { environment, service } = names
  return {
    projectId,
    environmentId: environment === null ? null : await ensureNamed<EnvironmentId>(tx, projectId, 'environments', environment),
    serviceId: service === null ? null : await ensureNamed<ServiceId>(tx, projectId, 'services', service),
  }
}

export async function ensureProject(tx: Queryable, name: string): Promise<ProjectId> {
  await tx.query('insert into projects (id, name) values ($1, $2) on conflict (name) do nothing', [
    randomId<ProjectId>(ID_PREFIXES.ProjectId),
    name,
  ])
  const id = await findProjectId(tx, name)
  if (id === null) throw new Error('a project was not written')
  return id
}

const PREFIXES = { environments: ID_PREFIXES.EnvironmentId, services: ID_PREFIXES.ServiceId } as const

async function ensureNamed<Id extends string>(
  tx: Queryable,
  projectId: ProjectId,
  table: keyof typeof PREFIXES,
  name: string,
): Promise<Id> {
  const made = await tx.query<{ id: Id }>(
    `insert into ${table} (id, project_id, name) values ($1, $2, $3) on conflict (project_id, name) do nothing returning id`,
    [randomId<Id>(PREFIXES[table]), projectId, name],
  )
  if (made.length > 0) await assertWithinPlan(tx, projectId, table)
  const [row] = await tx.query<{ id: Id }>(`select id from ${table} where project_id = $1 and name = $2`, [projectId, name])
  if (row === undefined) throw new Error(`a row of ${table} was not written`)
  return row.id
}

/** Host names of all services. */
export async function listHosts(db: Queryable): Promise<string[]> {
  const rows = await db.query<{ host: string }>('select host from service_environments')
  return rows.map((row) => row.host)
}
