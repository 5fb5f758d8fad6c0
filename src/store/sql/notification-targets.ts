import type { EnvironmentId, ProjectId } from '../../domain/ids.ts'
import type { Queryable } from '../database.ts'

export interface NotificationTargetRecord {
  readonly id: string
  readonly project: string
  readonly environment: string | null
  readonly name: string
  readonly kind: 'webhook' | 'slack'
  readonly sealedUrl: Buffer
  readonly sealedSecret: Buffer | null
  readonly told: readonly ('running' | 'failed' | 'rolled_back')[]
  readonly createdAt: string
  /** The newest that it was told, or is to be told. */
  readonly last: { readonly state: string; readonly about: string; readonly at: string; readonly error: string | null } | null
}

const SELECT = `select t.id, p.name as project, e.name as environment, t.name, t.kind, t.sealed_url as "sealedUrl", t.sealed_secret as "sealedSecret",
    t.told, t.created_at as "createdAt",
    (select jsonb_build_object('state', n.state, 'about', n.about, 'error', n.last_error,
                               'at', to_char(n.created_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'))
       from notifications n where n.target_id = t.id order by n.created_at desc limit 1) as last
  from notification_targets t join projects p on p.id = t.project_id left join environments e on e.id = t.environment_id`

export async function listNotificationTargets(db: Queryable, project: string): Promise<NotificationTargetRecord[]> {
  return db.query<NotificationTargetRecord>(`${SELECT} where p.name = $1 order by t.id`, [project])
}

export async function findNotificationTarget(db: Queryable, id: string): Promise<NotificationTargetRecord | null> {
  const [row] = await db.query<NotificationTargetRecord>(`${SELECT} where t.id = $1`, [id])
  return row ?? null
}

export interface NewNotificationTarget {
  readonly id: string
  readonly projectId: ProjectId
  readonly environmentId: EnvironmentId | null
  readonly name: string
  readonly kind: 'webhook' | 'slack'
  readonly sealedUrl: Buffer
  readonly sealedSecret: Buffer | null
  readonly told: readonly string[]
  readonly createdBy: string
}

export async function insertNotificationTarget(tx: Queryable, target: NewNotificationTarget): Promise<void> {
  await tx.query(
    `insert into notification_targets (id, project_id, environment_id, name, kind, sealed_url, sealed_secret, told, created_by)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
    [
      target.id,
      target.projectId,
      target.environmentId,
      target.name,
      target.kind,
      target.sealedUrl,
      target.sealedSecret,
      target.told,
      target.createdBy,
    ],
  )
}

/** Ids of a project and one of its environments; null = there is none of that name. */
export async function findScopeIds(
  db: Queryable,
  project: string,
  environment: string | null,
): Promise<{ readonly projectId: ProjectId; readonly environmentId: EnvironmentId | null } | null> {
  const [row] = await db.query<{ projectId: ProjectId; environmentId: EnvironmentId | null }>(
    `select p.id as "projectId", e.id as "environmentId" from projects p left join environments e on e.project_id = p.id and e.name = $2
      where p.name = $1`,
    [project, environment],
  )
  return row === undefined || (environment !== null && row.environmentId === null) ? null : row
}

export async function deleteNotificationTarget(tx: Queryable, id: string): Promise<void> {
  await tx.query('delete from notification_targets where id = $1', [id])
}
