import type { EnvironmentId, ProjectId } from '../../domain/ids.ts'
import type { Queryable } from '../database.ts'

/** A preview, or a commit of a fork that waits to become one. */
export interface PreviewRecord {
  readonly number: number
  readonly projectId: ProjectId
  readonly project: string
  readonly repository: string
  readonly environmentId: EnvironmentId | null
  readonly environment: string | null
  readonly isRemoving: boolean
  readonly commit: string
  readonly branch: string
  readonly author: string
  readonly title: string
  readonly fork: boolean
  readonly services: readonly { readonly service: string; readonly host: string; readonly status: string | null }[]
  readonly waitsFor: { readonly commit: string; readonly author: string; readonly title: string; readonly since: string } | null
  readonly expiresAt: string | null
  readonly createdAt: string
}

const PREVIEWS_SHOWN = 1000

/** By number; `number` null = all. */
export async function listPreviewRecords(db: Queryable, project: string, number: number | null): Promise<PreviewRecord[]> {
  return db.query<PreviewRecord>(
    `with waiting as (
       select distinct on (project_id, repository, number) * from preview_approvals where approved_at is null
        order by project_id, repository, number, asked_at desc)
     select coalesce(v.number, a.number) as number, p.id as "projectId", p.name as project, coalesce(v.repository, a.repository) as repository,
            e.id as "environmentId", e.name as environment, e.removing_at is not null as "isRemoving", coalesce(v.head_sha, a.sha) as commit,
            coalesce(v.head_ref, a.head_ref) as branch, coalesce(v.author, a.author) as author, coalesce(v.title, a.title) as title,
            coalesce(v.is_fork, true) as fork, v.expires_at as "expiresAt", coalesce(v.created_at, a.asked_at) as "createdAt",
            case when a.sha is not null then json_build_object('commit', a.sha, 'author', a.author, 'title', a.title,
                   'since', to_char(a.asked_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')) end as "waitsFor",
            (select coalesce(json_agg(json_build_object('service', s.name, 'host', se.host, 'status',
                      (select d.status from deployments d where d.service_environment_id = se.id order by d.position desc limit 1)) order by s.name), '[]')
               from service_environments se join services s on s.id = se.service_id where se.environment_id = e.id) as services
       from previews v full join waiting a on a.project_id = v.project_id and a.repository = v.repository and a.number = v.number
       join projects p on p.id = coalesce(v.project_id, a.project_id)
       left join environments e on e.id = v.environment_id
      where p.name = $1 and ($2::int is null or coalesce(v.number, a.number) = $2)
      order by 1, 4 limit $3`,
    [project, number, PREVIEWS_SHOWN],
  )
}

/** Gives the word for one commit. Null = it does not wait; otherwise the delivery that asked, null when that is no longer kept. */
export async function approveCommit(
  tx: Queryable,
  { projectId, repository, number }: Pick<PreviewRecord, 'projectId' | 'repository' | 'number'>,
  commit: string,
  by: string,
): Promise<{ readonly deliveryId: string | null; readonly webhookId: string | null } | null> {
  const [row] = await tx.query<{ deliveryId: string | null; webhookId: string | null }>(
    `update preview_approvals a set approved_by = $5, approved_at = now()
      where a.project_id = $1 and a.repository = $2 and a.number = $3 and a.sha = $4 and a.approved_at is null
     returning a.delivery_id as "deliveryId", (select d.webhook_id from webhook_deliveries d where d.id = a.delivery_id) as "webhookId"`,
    [projectId, repository, number, commit, by],
  )
  return row ?? null
}
