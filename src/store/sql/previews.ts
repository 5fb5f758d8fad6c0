import { randomId } from '../../core/random-id.ts'
import { type EnvironmentId, ID_PREFIXES, type ProjectId, type ServiceId } from '../../domain/ids.ts'
import type { PullRequestEvent } from '../../domain/push.ts'
import { CHANNEL } from '../channels.ts'
import type { Queryable } from '../database.ts'
import { DELIVERY_NOTICE } from './deliveries.ts'

/** A pull request is known by the repository that its webhook fetches from, and its number there. */
export interface PullRequestKey {
  readonly projectId: ProjectId
  readonly repository: string
  readonly number: number
}

export interface PreviewRow {
  readonly environmentId: EnvironmentId
  readonly environment: string
  readonly isRemoving: boolean
  readonly expiresAt: string
  /** What of the asked service was put into the queue there last; null = it is not there. */
  readonly headSha: string | null
}

/** The preview as it is for one of its services. */
export async function findPreview(db: Queryable, key: PullRequestKey, serviceId: ServiceId): Promise<PreviewRow | null> {
  const [row] = await db.query<PreviewRow>(
    `select e.id as "environmentId", e.name as environment, e.removing_at is not null as "isRemoving", v.expires_at as "expiresAt",
            (select d.trigger->'push'->>'commit' from deployments d where d.environment_id = e.id and d.service_id = $4
              order by d.position desc limit 1) as "headSha"
       from previews v join environments e on e.id = v.environment_id
      where v.project_id = $1 and v.repository = $2 and v.number = $3`,
    [key.projectId, key.repository, key.number, serviceId],
  )
  return row ?? null
}

export interface PreviewRoom {
  /** Previews of the project. */
  readonly previews: number
  /** Of its plan; null = no limit. */
  readonly previewsMax: number | null
  readonly isFull: boolean
}

/** What the plan leaves. The lock makes two that add at once take turns; it does not hold up deployments. */
export async function readPreviewRoom(tx: Queryable, projectId: ProjectId): Promise<PreviewRoom> {
  await tx.query('select 1 from projects where id = $1 for no key update', [projectId])
  const [row] = await tx.query<PreviewRoom>(
    `select (select count(*)::int from environments e where e.project_id = p.id and e.is_preview) as previews, (p.limits->>'previews')::int as "previewsMax",
            coalesce((select count(*) from environments e where e.project_id = p.id) >= (p.limits->>'environments')::int, false) as "isFull"
       from projects p where p.id = $1`,
    [projectId],
  )
  return row ?? { previews: 0, previewsMax: 0, isFull: true }
}

export async function listApprovedShas(db: Queryable, key: PullRequestKey): Promise<Set<string>> {
  const rows = await db.query<{ sha: string }>(
    'select sha from preview_approvals where project_id = $1 and repository = $2 and number = $3 and approved_at is not null',
    [key.projectId, key.repository, key.number],
  )
  return new Set(rows.map((row) => row.sha))
}

/** Waits for somebody's word from here on. Asking again refreshes what asked. */
export async function askForApproval(tx: Queryable, key: PullRequestKey, event: PullRequestEvent, deliveryId: string): Promise<void> {
  await tx.query(
    `insert into preview_approvals (project_id, repository, number, sha, delivery_id, title, author, head_ref) values ($1, $2, $3, $4, $5, $6, $7, $8)
     on conflict (project_id, repository, number, sha) do update set delivery_id = excluded.delivery_id, asked_at = now()`,
    [key.projectId, key.repository, key.number, event.headSha, deliveryId, event.title, event.author, event.headRef],
  )
}

/** A pull request that is closed takes its approvals along: opened again, it is looked at again. */
export async function forgetApprovals(tx: Queryable, key: PullRequestKey): Promise<void> {
  await tx.query('delete from preview_approvals where project_id = $1 and repository = $2 and number = $3', [
    key.projectId,
    key.repository,
    key.number,
  ])
}

/** An environment that is no preview, or that of another repository, keeps its name. */
export async function isNameFree(tx: Queryable, projectId: ProjectId, name: string): Promise<boolean> {
  return (await tx.query('select 1 from environments where project_id = $1 and name = $2', [projectId, name])).length === 0
}

/** Null = there is none of that name, or it is a preview itself, or on its way out. */
export async function findTemplate(tx: Queryable, projectId: ProjectId, name: string): Promise<EnvironmentId | null> {
  const [row] = await tx.query<{ id: EnvironmentId }>(
    'select id from environments where project_id = $1 and name = $2 and not is_preview and removing_at is null for key share',
    [projectId, name],
  )
  return row?.id ?? null
}

export async function insertPreviewEnvironment(
  tx: Queryable,
  projectId: ProjectId,
  name: string,
  templateId: EnvironmentId,
): Promise<EnvironmentId> {
  const id = randomId<EnvironmentId>(ID_PREFIXES.EnvironmentId)
  await tx.query('insert into environments (id, project_id, name, is_preview, template_id) values ($1, $2, $3, true, $4)', [
    id,
    projectId,
    name,
    templateId,
  ])
  return id
}

/** What the newest event says. Its life begins anew with every push; with several services their webhooks agree on the last of them. */
export async function savePreview(
  tx: Queryable,
  key: PullRequestKey,
  about: { readonly environmentId: EnvironmentId; readonly webhookId: string; readonly event: PullRequestEvent; readonly ttlMs: number },
): Promise<void> {
  const { event } = about
  await tx.query(
    `insert into previews (environment_id, project_id, webhook_id, repository, number, head_sha, head_ref, author, title, is_fork, expires_at)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, now() + make_interval(secs => $11))
     on conflict (project_id, repository, number) do update set head_sha = excluded.head_sha, head_ref = excluded.head_ref, title = excluded.title,
       is_fork = excluded.is_fork, expires_at = excluded.expires_at`,
    [
      about.environmentId,
      key.projectId,
      about.webhookId,
      key.repository,
      key.number,
      event.headSha,
      event.headRef,
      event.author,
      event.title,
      event.isFork,
      about.ttlMs / 1000,
    ],
  )
}

/** `code` of a delivery that waits for the end of the preview before. */
export const PREVIEW_ENDING = 'preview-ending'

/** A later event of the same pull request was decided: what waited for the end of the preview is void. */
export async function voidWaiting(tx: Queryable, webhookId: string, number: number): Promise<void> {
  await tx.query(
    `update webhook_deliveries set code = 'overtaken', reason = 'a later event of the pull request came'
      where webhook_id = $1 and verdict = 'skipped' and code = $2 and (parsed->>'number')::int = $3`,
    [webhookId, PREVIEW_ENDING, number],
  )
}

export interface EndedPreview {
  readonly environmentId: EnvironmentId
  readonly reason: string
}

/** Previews whose time is over, whose webhook is gone, or whose webhook makes none any more. */
export async function listEndedPreviews(db: Queryable): Promise<EndedPreview[]> {
  return db.query<EndedPreview>(
    `select e.id as "environmentId", case when w.id is null then 'its webhook is gone' when w.preview_rules is null then 'previews were turned off'
              else 'no push within its time to live' end as reason
       from environments e left join previews v on v.environment_id = e.id left join webhooks w on w.id = v.webhook_id
      where e.is_preview and e.removing_at is null and (w.id is null or w.preview_rules is null or v.expires_at <= now())
      order by e.id limit 100`,
  )
}

/** What waited for the end of a preview is to be decided now; also, requests for approval that nobody answered are let go. */
export async function wakeWaiting(db: Queryable, approvalKeptMs: number): Promise<number> {
  await db.query('delete from preview_approvals where approved_at is null and asked_at < now() - make_interval(secs => $1)', [
    approvalKeptMs / 1000,
  ])
  const rows = await db.query<{ id: string }>(
    `with woken as (
       update webhook_deliveries d set verdict = 'received', code = null, reason = '', decided_at = null
         from webhooks w
        where w.id = d.webhook_id and d.verdict = 'skipped' and d.code = $1
          and not exists (select 1 from previews v where v.project_id = w.project_id and v.repository = w.repository
                             and v.number = (d.parsed->>'number')::int)
       returning d.id)
     select id, pg_notify($2, $3) from woken`,
    [PREVIEW_ENDING, CHANNEL, JSON.stringify(DELIVERY_NOTICE)],
  )
  return rows.length
}
