import { randomId } from '../../core/random-id.ts'
import type { Source } from '../../domain/deployment.ts'
import { type EnvironmentId, ID_PREFIXES, type ProjectId, type ServiceEnvironmentId, type ServiceId } from '../../domain/ids.ts'
import type { Queryable } from '../database.ts'

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
  readonly source: Source | null
  readonly queuePolicy: 'every' | 'latest'
  readonly liveDeploymentId: string | null
  readonly previousDeploymentId: string | null
  readonly hold: { readonly reason: string; readonly since: string; readonly by: string } | null
  readonly instances: number | null
}

const COLUMNS = `se.id, se.project_id as "projectId", se.environment_id as "environmentId", se.service_id as "serviceId",
  p.name as project, e.name as environment, s.name as service, se.host, s.source, s.queue_policy as "queuePolicy",
  se.live_deployment_id as "liveDeploymentId", se.previous_deployment_id as "previousDeploymentId", se.hold, se.instances`
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
  if (found === null) throw new Error(`service environment ${id} vanished`)
  return found
}

/** Makes project, environment, service and their meeting, as far as missing. `hostOf` names a new one. */
export async function ensureServiceEnvironment(
  tx: Queryable,
  names: { readonly project: string; readonly environment: string; readonly service: string },
  source: Source | null,
  host: string,
): Promise<ServiceEnvironment> {
  await tx.query('insert into projects (id, name) values ($1, $2) on conflict (name) do nothing', [
    randomId<ProjectId>(ID_PREFIXES.ProjectId),
    names.project,
  ])
  await tx.query(
    `insert into environments (id, project_id, name) select $1, id, $3 from projects where name = $2 on conflict (project_id, name) do nothing`,
    [randomId<EnvironmentId>(ID_PREFIXES.EnvironmentId), names.project, names.environment],
  )
  await tx.query(
    `insert into services (id, project_id, name, source) select $1, id, $3, $4 from projects where name = $2
     on conflict (project_id, name) do update set source = coalesce(excluded.source, services.source)`,
    [randomId<ServiceId>(ID_PREFIXES.ServiceId), names.project, names.service, source === null ? null : JSON.stringify(source)],
  )
  await tx.query(
    `insert into service_environments (id, project_id, environment_id, service_id, host)
     select $1, p.id, e.id, s.id, $5 from projects p join environments e on e.project_id = p.id and e.name = $3
       join services s on s.project_id = p.id and s.name = $4 where p.name = $2
     on conflict (service_id, environment_id) do nothing`,
    [randomId<ServiceEnvironmentId>(ID_PREFIXES.ServiceEnvironmentId), names.project, names.environment, names.service, host],
  )
  const found = await findServiceEnvironment(tx, names)
  if (found === null) throw new Error('a service environment was not written')
  return found
}
