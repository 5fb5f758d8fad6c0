import type { KnownHead } from '../../domain/branch-head.ts'
import type { EnvironmentId, ServiceEnvironmentId, ServiceId } from '../../domain/ids.ts'
import type { Queryable } from '../database.ts'
import type { SaidTrigger } from './deploy-rules.ts'

export interface HeadDecision {
  /** `refs/heads/…` or `refs/tags/…`. */
  readonly ref: string
  readonly sha: string | null
  readonly beforeSha: string | null
  readonly verdict: 'queued' | 'skipped'
  readonly code: string | null
  readonly reason: string
  readonly isFinal: boolean
  readonly foundBy: 'webhook' | 'head-check' | 'replay'
  readonly deliveryId: string | null
  readonly deploymentId: string | null
}

/** `code` of the first look at a branch. */
export const BASELINE = 'baseline'

export async function findHead(db: Queryable, id: ServiceEnvironmentId, ref: string): Promise<KnownHead | null> {
  const [row] = await db.query<KnownHead>(
    `select sha, before_sha as "beforeSha", found_by as "foundBy", deployment_id as "deploymentId", coalesce(code = $3, false) as "isBaseline"
       from branch_heads where service_environment_id = $1 and ref = $2`,
    [id, ref, BASELINE],
  )
  return row ?? null
}

export async function saveHead(tx: Queryable, id: ServiceEnvironmentId, head: HeadDecision): Promise<void> {
  await tx.query(
    `insert into branch_heads (service_environment_id, ref, sha, before_sha, verdict, code, reason, is_final, found_by, delivery_id, deployment_id)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
     on conflict (service_environment_id, ref) do update set sha = excluded.sha, before_sha = excluded.before_sha, verdict = excluded.verdict,
       code = excluded.code, reason = excluded.reason, is_final = excluded.is_final, found_by = excluded.found_by,
       delivery_id = excluded.delivery_id, deployment_id = excluded.deployment_id, decided_at = now()`,
    [
      id,
      head.ref,
      head.sha,
      head.beforeSha,
      head.verdict,
      head.code,
      head.reason,
      head.isFinal,
      head.foundBy,
      head.deliveryId,
      head.deploymentId,
    ],
  )
}

/** An environment that a service's pushes may deploy to. Previews are not among them: they follow their pull request. */
export interface PushTarget {
  readonly id: ServiceEnvironmentId
  readonly environmentId: EnvironmentId
  readonly environment: string
  /** Of the environment; it counts before what the configuration says. */
  readonly branch: string | null
  /** What is live here says so (I14). */
  readonly rules: SaidTrigger
}

export async function listPushTargets(db: Queryable, serviceId: ServiceId): Promise<PushTarget[]> {
  return db.query<PushTarget>(
    `select se.id, e.id as "environmentId", e.name as environment, e.branch, r.trigger as rules
       from service_environments se join environments e on e.id = se.environment_id join deploy_rules r on r.service_environment_id = se.id
      where se.service_id = $1 and not e.is_preview and se.removing_at is null
      order by e.name`,
    [serviceId],
  )
}

/** A decision that waited for a hold, a freeze or a full queue that has ended. */
export interface HeadToRevisit {
  readonly serviceEnvironmentId: ServiceEnvironmentId
  readonly ref: string
  readonly sha: string
  readonly beforeSha: string | null
  readonly foundBy: 'webhook' | 'head-check' | 'replay'
  readonly deliveryId: string | null
  readonly decidedAt: string
  readonly provider: string | null
  readonly repository: string | null
}

/** The one that waited longest, locked until commit. */
export async function takeHeadToRevisit(tx: Queryable, pendingMax: number): Promise<HeadToRevisit | null> {
  const [row] = await tx.query<HeadToRevisit>(
    `select b.service_environment_id as "serviceEnvironmentId", b.ref, b.sha, b.before_sha as "beforeSha", b.found_by as "foundBy",
            b.delivery_id as "deliveryId", b.decided_at as "decidedAt",
            (select w.provider from webhook_deliveries d join webhooks w on w.id = d.webhook_id where d.id = b.delivery_id) as provider,
            coalesce((select w.repository from webhook_deliveries d join webhooks w on w.id = d.webhook_id where d.id = b.delivery_id),
                     (select w.repository from webhooks w where w.service_id = se.service_id order by w.created_at limit 1)) as repository
       from branch_heads b join service_environments se on se.id = b.service_environment_id
      where not b.is_final and b.sha is not null and se.hold is null
        and not exists (select 1 from freezes f where f.project_id = se.project_id and f.lifted_at is null and (f.until is null or f.until > now())
                           and (f.environment_id is null or f.environment_id = se.environment_id))
        and (select count(*) from deployments p where p.service_environment_id = se.id and p.status = 'pending') < $1
        -- A deployment that may turn out to have this very commit is waited for.
        and not exists (select 1 from deployments n where n.service_environment_id = se.id and n.created_at > b.decided_at and not n.settled
                           and n.source->>'kind' = 'git' and n.facts->'revision' = 'null'::jsonb)
      order by b.decided_at limit 1 for update of b skip locked`,
    [pendingMax],
  )
  return row ?? null
}

/** A deployment that was made since and has the commit already: whoever lifted the hold deployed by hand. */
export async function findDeploymentOf(
  tx: Queryable,
  id: ServiceEnvironmentId,
  commit: string,
  since: string,
): Promise<{ readonly id: string } | null> {
  const [row] = await tx.query<{ id: string }>(
    `select id from deployments where service_environment_id = $1 and created_at > $3 and facts->'revision'->>'commit' = $2
        and status not in ('failed', 'canceled') limit 1`,
    [id, commit, since],
  )
  return row ?? null
}

/** What is live has that commit: a tag brought it, or somebody by hand. */
export async function findLiveWith(tx: Queryable, id: ServiceEnvironmentId, commit: string): Promise<{ readonly id: string } | null> {
  const [row] = await tx.query<{ id: string }>(
    `select id from deployments where service_environment_id = $1 and status = 'running' and source->>'kind' = 'git'
        and facts->'revision'->>'commit' = $2 order by created_at desc limit 1`,
    [id, commit],
  )
  return row ?? null
}

export async function noteHeadChecked(db: Queryable, id: ServiceEnvironmentId, ref: string): Promise<void> {
  await db.query('update branch_heads set checked_at = now() where service_environment_id = $1 and ref = $2', [id, ref])
}
