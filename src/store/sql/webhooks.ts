import type { ProjectId, ServiceId } from '../../domain/ids.ts'
import type { PreviewRules } from '../../domain/preview.ts'
import type { Queryable } from '../database.ts'

export type WebhookProviderName = 'github' | 'gitlab' | 'gitea'

/** A webhook without its secrets. */
export interface WebhookRecord {
  readonly id: string
  readonly projectId: ProjectId
  readonly serviceId: ServiceId
  readonly project: string
  readonly service: string
  readonly provider: WebhookProviderName
  /** Address of the git repository that its pushes deploy. */
  readonly repository: string
  readonly isEnabled: boolean
  readonly checksHeads: boolean
  readonly apiUrl: string | null
  readonly hasApiToken: boolean
  readonly hasSecret: boolean
  /** Until then the secret before the last rotation is good, too. */
  readonly previousValidUntil: string | null
  readonly headCheckNote: string | null
  readonly previewRules: PreviewRules | null
  readonly nextHeadCheckAt: string
  readonly createdAt: string
  readonly rotatedAt: string | null
}

const COLUMNS = `w.id, w.project_id as "projectId", w.service_id as "serviceId", p.name as project, s.name as service, w.provider, w.repository,
  w.enabled as "isEnabled", w.checks_heads as "checksHeads", w.api_url as "apiUrl", w.sealed_api_token is not null as "hasApiToken",
  w.sealed_secret is not null as "hasSecret", case when w.previous_valid_until > now() then w.previous_valid_until end as "previousValidUntil",
  w.preview_rules as "previewRules", w.head_check_note as "headCheckNote", w.next_head_check_at as "nextHeadCheckAt", w.created_at as "createdAt", w.rotated_at as "rotatedAt"`
const JOINS = 'webhooks w join projects p on p.id = w.project_id join services s on s.id = w.service_id'

export interface NewWebhook {
  readonly id: string
  readonly projectId: ProjectId
  readonly serviceId: ServiceId
  readonly provider: WebhookProviderName
  readonly repository: string
  readonly sealedSecret: Buffer
  readonly checksHeads: boolean
  readonly apiUrl: string | null
  readonly sealedApiToken: Buffer | null
  readonly previewRules: PreviewRules | null
}

export async function insertWebhook(tx: Queryable, webhook: NewWebhook): Promise<void> {
  await tx.query(
    `insert into webhooks (id, project_id, service_id, provider, repository, sealed_secret, checks_heads, api_url, sealed_api_token, preview_rules)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
    [
      webhook.id,
      webhook.projectId,
      webhook.serviceId,
      webhook.provider,
      webhook.repository,
      webhook.sealedSecret,
      webhook.checksHeads,
      webhook.apiUrl,
      webhook.sealedApiToken,
      webhook.previewRules === null ? null : JSON.stringify(webhook.previewRules),
    ],
  )
}

export async function findWebhook(db: Queryable, id: string): Promise<WebhookRecord | null> {
  const [row] = await db.query<WebhookRecord>(`select ${COLUMNS} from ${JOINS} where w.id = $1`, [id])
  return row ?? null
}

/** Oldest first; `after` is the id of the last one that was seen. */
export async function listWebhooks(
  db: Queryable,
  filter: { readonly project: string | null; readonly service: string | null; readonly after: string | null; readonly limit: number },
): Promise<WebhookRecord[]> {
  return db.query<WebhookRecord>(
    `select ${COLUMNS} from ${JOINS}
      where ($1::text is null or p.name = $1) and ($2::text is null or s.name = $2) and ($3::text is null or w.id > $3)
      order by w.id limit $4`,
    [filter.project, filter.service, filter.after, filter.limit],
  )
}

export async function countWebhooks(tx: Queryable, serviceId: ServiceId): Promise<number> {
  const [row] = await tx.query<{ count: number }>('select count(*) as count from webhooks where service_id = $1', [serviceId])
  return row?.count ?? 0
}

/** What a request is checked with: the current secret, then the previous one while it is valid. */
export interface WebhookSecrets {
  readonly id: string
  readonly projectId: ProjectId
  readonly provider: WebhookProviderName
  readonly isEnabled: boolean
  /** Pull requests are decided, not ignored. */
  readonly hasPreviews: boolean
  readonly sealedSecrets: readonly Buffer[]
}

/** By id, those of these that there are. */
export async function findWebhookSecrets(db: Queryable, ids: readonly string[]): Promise<ReadonlyMap<string, WebhookSecrets>> {
  const rows = await db.query<{
    id: string
    projectId: ProjectId
    provider: WebhookProviderName
    enabled: boolean
    previews: boolean
    current: Buffer | null
    previous: Buffer | null
  }>(
    `select id, project_id as "projectId", provider, enabled, preview_rules is not null as previews, sealed_secret as current,
        case when previous_valid_until > now() then sealed_previous_secret end as previous
       from webhooks where id = any($1)`,
    [ids],
    { name: 'find-webhook-secrets' },
  )
  return new Map(
    rows.map(({ id, projectId, provider, enabled, previews, current, previous }) => [
      id,
      {
        id,
        projectId,
        provider,
        isEnabled: enabled,
        hasPreviews: previews,
        sealedSecrets: [current, previous].filter((secret) => secret !== null),
      },
    ]),
  )
}

export interface WebhookChange {
  readonly isEnabled?: boolean | undefined
  readonly checksHeads?: boolean | undefined
  readonly repository?: string | undefined
  /** null = none. */
  readonly apiUrl?: string | null | undefined
  readonly sealedApiToken?: Buffer | null | undefined
  readonly previewRules?: PreviewRules | null | undefined
}

/** Changes what is named, keeps the rest. */
export async function updateWebhook(tx: Queryable, id: string, change: WebhookChange): Promise<void> {
  await tx.query(
    `update webhooks set enabled = coalesce($2, enabled), checks_heads = coalesce($3, checks_heads), repository = coalesce($4, repository),
            api_url = case when $5 then $6 else api_url end, sealed_api_token = case when $7 then $8 else sealed_api_token end,
            preview_rules = case when $9 then $10::jsonb else preview_rules end, next_head_check_at = now(), head_check_failures = 0
      where id = $1`,
    [
      id,
      change.isEnabled ?? null,
      change.checksHeads ?? null,
      change.repository ?? null,
      change.apiUrl !== undefined,
      change.apiUrl ?? null,
      change.sealedApiToken !== undefined,
      change.sealedApiToken ?? null,
      change.previewRules !== undefined,
      change.previewRules == null ? null : JSON.stringify(change.previewRules),
    ],
  )
}

/** The present secret stays good for `overlapMs`; 0 = it ends at once. */
export async function rotateWebhookSecret(tx: Queryable, id: string, sealedSecret: Buffer, overlapMs: number): Promise<void> {
  await tx.query(
    `update webhooks set sealed_previous_secret = case when $3 > 0 then sealed_secret end,
            previous_valid_until = case when $3 > 0 and sealed_secret is not null then now() + make_interval(secs => $3) end,
            sealed_secret = $2, rotated_at = now()
      where id = $1`,
    [id, sealedSecret, overlapMs / 1000],
  )
}

/** False when there was none. Its deliveries and statuses go with it. */
export async function deleteWebhook(tx: Queryable, id: string): Promise<boolean> {
  return (await tx.query('delete from webhooks where id = $1 returning id', [id])).length > 0
}

/** A webhook whose branch heads are due to be looked at. */
export interface DueHeadCheck {
  readonly id: string
  readonly projectId: ProjectId
  readonly serviceId: ServiceId
  readonly provider: WebhookProviderName
  readonly repository: string
  readonly failures: number
}

/** Takes some that are due and puts their next look off, so that no other server looks at the same time. */
export async function takeDueHeadChecks(db: Queryable, count: number, periodMs: number): Promise<DueHeadCheck[]> {
  return db.query<DueHeadCheck>(
    `update webhooks set next_head_check_at = now() + make_interval(secs => $2)
      where id in (select id from webhooks where enabled and checks_heads and repository <> '' and next_head_check_at <= now()
                    order by next_head_check_at limit $1 for update skip locked)
     returning id, project_id as "projectId", service_id as "serviceId", provider, repository, head_check_failures as failures`,
    [count, periodMs / 1000],
  )
}

/** What came of a look: `nextMs` from now on the next. */
export async function recordHeadCheck(
  db: Queryable,
  id: string,
  result: { readonly failures: number; readonly nextMs: number; readonly note: string },
): Promise<void> {
  await db.query(
    `update webhooks set head_check_failures = $2, head_check_note = $4, next_head_check_at = now() + make_interval(secs => $3) where id = $1`,
    [id, result.failures, result.nextMs / 1000, result.note],
  )
}
