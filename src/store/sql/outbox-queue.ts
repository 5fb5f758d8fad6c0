import { LIMITS } from '../../core/limits.ts'
import type { Queryable } from '../database.ts'
import type { WebhookProviderName } from './webhooks.ts'

/** What came of an attempt to send. */
export type SendOutcome =
  | { readonly kind: 'sent' }
  | { readonly kind: 'given-up'; readonly error: string }
  | { readonly kind: 'again'; readonly error: string; readonly inMs: number }

export interface DueStatus {
  readonly id: string
  readonly attempts: number
  readonly sha: string
  readonly status: 'pending' | 'success' | 'failure' | 'canceled'
  readonly description: string
  readonly provider: WebhookProviderName
  readonly repository: string
  readonly apiUrl: string | null
  readonly sealedApiToken: Buffer | null
  readonly project: string
  readonly environment: string
  readonly service: string
  readonly host: string
}

/**
 * Takes statuses that are due, for as long as one attempt may take. Of one commit and service only one is under way at a time: otherwise
 * a slow `pending` could arrive after the `success` that overtook it.
 */
export async function claimStatuses(db: Queryable, count: number): Promise<DueStatus[]> {
  return db.query<DueStatus>(
    `update commit_statuses c set attempts = c.attempts + 1, claimed_until = now() + make_interval(secs => $2)
       from webhooks w, service_environments se, projects p, environments e, services s
      where c.id in (
              select x.id from commit_statuses x
               where x.state = 'pending' and x.next_attempt_at <= now() and coalesce(x.claimed_until < now(), true)
                 and not exists (select 1 from commit_statuses o where o.webhook_id = x.webhook_id and o.sha = x.sha
                                    and o.service_environment_id = x.service_environment_id and o.id <> x.id and o.claimed_until > now())
               order by x.next_attempt_at limit $1 for update of x skip locked)
        and w.id = c.webhook_id and se.id = c.service_environment_id and p.id = se.project_id and e.id = se.environment_id and s.id = se.service_id
     returning c.id, c.attempts, c.sha, c.status, c.description, w.provider, w.repository, w.api_url as "apiUrl",
               w.sealed_api_token as "sealedApiToken", p.name as project, e.name as environment, s.name as service, se.host`,
    [count, LIMITS.outboxClaimMs / 1000],
  )
}

export function recordStatusSent(db: Queryable, id: string, outcome: SendOutcome): Promise<void> {
  return record(db, 'commit_statuses', id, outcome)
}

export interface DueNotification {
  readonly id: string
  readonly attempts: number
  readonly body: Readonly<Record<string, unknown>>
  readonly kind: 'webhook' | 'slack'
  readonly sealedUrl: Buffer
  readonly sealedSecret: Buffer | null
}

export async function claimNotifications(db: Queryable, count: number): Promise<DueNotification[]> {
  return db.query<DueNotification>(
    `update notifications n set attempts = n.attempts + 1, claimed_until = now() + make_interval(secs => $2)
       from notification_targets t
      where n.id in (select x.id from notifications x where x.state = 'pending' and x.next_attempt_at <= now()
                        and coalesce(x.claimed_until < now(), true) order by x.next_attempt_at limit $1 for update skip locked)
        and t.id = n.target_id
     returning n.id, n.attempts, n.body, t.kind, t.sealed_url as "sealedUrl", t.sealed_secret as "sealedSecret"`,
    [count, LIMITS.outboxClaimMs / 1000],
  )
}

export function recordNotificationSent(db: Queryable, id: string, outcome: SendOutcome): Promise<void> {
  return record(db, 'notifications', id, outcome)
}

/** One that was overtaken while it was under way stays overtaken. */
async function record(db: Queryable, table: 'commit_statuses' | 'notifications', id: string, outcome: SendOutcome): Promise<void> {
  const state = outcome.kind === 'sent' ? 'sent' : outcome.kind === 'given-up' ? 'given_up' : 'pending'
  await db.query(
    `update ${table} set claimed_until = null, state = case when state = 'pending' then $2 else state end, last_error = $3,
            sent_at = case when $2 = 'sent' then now() else sent_at end, next_attempt_at = now() + make_interval(secs => $4)
      where id = $1`,
    [id, state, outcome.kind === 'sent' ? null : outcome.error.slice(0, 500), outcome.kind === 'again' ? outcome.inMs / 1000 : 0],
  )
}

/** What was told long ago goes. */
export async function forgetOldOutbox(db: Queryable): Promise<void> {
  for (const table of ['commit_statuses', 'notifications']) {
    await db.query(`delete from ${table} where state <> 'pending' and created_at < now() - make_interval(secs => $1)`, [
      LIMITS.outboxKeptMs / 1000,
    ])
  }
}
