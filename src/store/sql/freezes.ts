import { ShiplockError } from '../../core/errors.ts'
import { randomId } from '../../core/random-id.ts'
import type { EnvironmentId, ProjectId } from '../../domain/ids.ts'
import { CHANNEL, type Notice } from '../channels.ts'
import type { Queryable } from '../database.ts'
import { appendEvents } from './events.ts'

/** While it lasts nothing starts there by itself (docs/queue.md). Ends by the database's clock. */
export interface Freeze {
  readonly id: string
  readonly projectId: ProjectId
  readonly project: string
  /** Null = every environment of the project. */
  readonly environmentId: EnvironmentId | null
  readonly environment: string | null
  readonly reason: string
  /** ISO time; null = until it is lifted. */
  readonly until: string | null
  readonly createdBy: string
  readonly createdAt: string
}

export interface FreezeScope {
  readonly projectId: ProjectId
  /** Null = the whole project. */
  readonly environmentId: EnvironmentId | null
}

const SELECT = `select f.id, f.project_id as "projectId", p.name as project, f.environment_id as "environmentId", e.name as environment,
    f.reason, f.until, f.created_by as "createdBy", f.created_at as "createdAt"
  from freezes f join projects p on p.id = f.project_id left join environments e on e.id = f.environment_id`
const IS_ACTIVE = 'f.lifted_at is null and (f.until is null or f.until > now())'

/** Those that last now; `project` by name, null = of all projects. Oldest first. */
export async function listFreezes(db: Queryable, project: string | null): Promise<Freeze[]> {
  return db.query<Freeze>(`${SELECT} where ${IS_ACTIVE} and ($1::text is null or p.name = $1) order by f.created_at, f.id`, [project])
}

/** The one that holds an environment now, its own or its project's; of several the one that lasts longest. Null = not frozen. */
export async function findFreeze(db: Queryable, environmentId: EnvironmentId): Promise<Freeze | null> {
  const [row] = await db.query<Freeze>(
    `${SELECT} join environments at on at.id = $1 and at.project_id = f.project_id
      where ${IS_ACTIVE} and (f.environment_id is null or f.environment_id = at.id)
      order by f.until desc nulls first, f.created_at limit 1`,
    [environmentId],
    { name: 'find-freeze' },
  )
  return row ?? null
}

/** Ids of what is named; null = there is no such project or environment. */
export async function findFreezeScope(
  db: Queryable,
  names: { readonly project: string; readonly environment: string | null },
): Promise<FreezeScope | null> {
  const [found] = await db.query<FreezeScope>(
    `select p.id as "projectId", e.id as "environmentId" from projects p left join environments e on e.project_id = p.id and e.name = $2
      where p.name = $1 and ($2::text is null or e.id is not null)`,
    [names.project, names.environment],
  )
  return found ?? null
}

/** When a freeze ends that is to last until a time or so long from now, as ISO time; null = it has no end. Throws INPUT_INVALID for what is past. */
export async function endOfFreeze(
  db: Queryable,
  { until, forMs }: { readonly until: string | null; readonly forMs: number | null },
): Promise<string | null> {
  const [row] = await db.query<{ end: string | null; past: boolean | null }>(
    `select e as end, e <= now() as past from (select coalesce($1::timestamptz, date_trunc('milliseconds', now()) + make_interval(secs => $2)) as e) t`,
    [until, forMs === null ? null : forMs / 1000],
  )
  if (row?.past === true) throw new ShiplockError('INPUT_INVALID', `body.until: ${until} is past`)
  return row?.end ?? null
}

/** Freezes, with its event. One that lasts for exactly this scope is replaced. `until` as ISO time; the database refuses one that is past. */
export async function freeze(
  tx: Queryable,
  scope: FreezeScope,
  wanted: { readonly reason: string; readonly until: string | null; readonly by: string },
): Promise<Freeze> {
  const id = randomId('frz')
  await markLifted(tx, scope, wanted.by)
  await tx.query('insert into freezes (id, project_id, environment_id, reason, until, created_by) values ($1, $2, $3, $4, $5, $6)', [
    id,
    scope.projectId,
    scope.environmentId,
    wanted.reason,
    wanted.until,
    wanted.by,
  ])
  const [made] = await tx.query<Freeze>(`${SELECT} where f.id = $1`, [id])
  if (made === undefined) throw new Error('a freeze was not written')
  const end = wanted.until === null ? 'until it is lifted' : `until ${wanted.until}`
  await appendEvents(tx, [
    {
      type: 'environment.frozen',
      message: `${nameOf(made)} is frozen ${end}: ${wanted.reason}`,
      ...about(scope),
      data: { id, reason: wanted.reason, until: wanted.until, by: wanted.by },
    },
  ])
  return made
}

/** Ends what lasts for exactly this scope, and has workers look at the queue again. False when nothing did. */
export async function unfreeze(tx: Queryable, scope: FreezeScope, by: string): Promise<boolean> {
  const lifted = await markLifted(tx, scope, by)
  if (lifted.length === 0) return false
  const notice: Notice = { kind: 'queued' }
  await tx.query('select pg_notify($1, $2)', [CHANNEL, JSON.stringify(notice)])
  await appendEvents(tx, [
    { type: 'environment.unfrozen', message: `${by} lifted the freeze`, ...about(scope), data: { ids: lifted.map(({ id }) => id), by } },
  ])
  return true
}

function markLifted(tx: Queryable, scope: FreezeScope, by: string): Promise<{ id: string }[]> {
  return tx.query<{ id: string }>(
    `update freezes f set lifted_at = now(), lifted_by = $3
      where f.project_id = $1 and f.environment_id is not distinct from $2 and ${IS_ACTIVE} returning f.id`,
    [scope.projectId, scope.environmentId, by],
  )
}

function nameOf({ project, environment }: Freeze): string {
  return environment === null ? `project ${project}` : `${environment} of ${project}`
}

function about(scope: FreezeScope) {
  return {
    projectId: scope.projectId,
    environmentId: scope.environmentId,
    serviceId: null,
    serviceEnvironmentId: null,
    deploymentId: null,
    instanceId: null,
  }
}
