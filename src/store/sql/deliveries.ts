import { LIMITS } from '../../core/limits.ts'
import { randomId } from '../../core/random-id.ts'
import type { ProjectId, ServiceId } from '../../domain/ids.ts'
import type { PreviewRules } from '../../domain/preview.ts'
import type { WebhookEvent } from '../../domain/push.ts'
import { CHANNEL, type Notice } from '../channels.ts'
import { isConstraintViolation, type Queryable } from '../database.ts'
import type { WebhookProviderName } from './webhooks.ts'

export type DeliveryVerdict = 'received' | 'queued' | 'skipped' | 'duplicate' | 'ignored' | 'refused' | 'failed'

/** What was decided for one environment of the service. */
export interface EnvironmentDecision {
  readonly environment: string
  readonly verdict: 'queued' | 'skipped'
  readonly code: string | null
  readonly reason: string
  /** False: decided again when what speaks against it ends. */
  readonly final: boolean
  readonly deploymentId: string | null
}

export interface DeliveryRecord {
  readonly id: string
  readonly position: number
  readonly webhookId: string
  readonly deliveryId: string
  readonly event: string
  readonly verdict: DeliveryVerdict
  readonly code: string | null
  readonly reason: string
  readonly decisions: readonly EnvironmentDecision[]
  readonly deploymentIds: readonly string[]
  readonly replayOf: string | null
  readonly usedPreviousSecret: boolean
  readonly payloadBytes: number
  readonly receivedAt: string
  readonly decidedAt: string | null
}

const COLUMNS = `d.id, d.position, d.webhook_id as "webhookId", d.delivery_id as "deliveryId", d.event, d.verdict, d.code, d.reason, d.decisions,
  d.deployment_ids as "deploymentIds", d.replay_of as "replayOf", d.used_previous_secret as "usedPreviousSecret",
  d.payload_bytes as "payloadBytes", d.received_at as "receivedAt", d.decided_at as "decidedAt"`

export interface NewDelivery {
  readonly webhookId: string
  readonly deliveryId: string
  readonly event: string
  readonly bodyDigest: string
  readonly parsed: WebhookEvent | null
  readonly payload: Buffer | null
  readonly payloadBytes: number
  readonly usedPreviousSecret: boolean
  /** Left out: `received`, to be decided. */
  readonly settled?: { readonly verdict: DeliveryVerdict; readonly code: string; readonly reason: string }
  readonly replayOf?: string
}

export const DELIVERY_NOTICE: Notice = { kind: 'delivery' }

/** Stores a delivery that was verified; one with an id or body that was there before is stored as a duplicate of the first. */
export async function insertDelivery(db: Queryable, delivery: NewDelivery): Promise<{ id: string; duplicateOf: string | null }> {
  const seen = delivery.replayOf === undefined ? await findSame(db, delivery) : null
  if (seen === null) {
    try {
      return { id: await insert(db, delivery), duplicateOf: null }
    } catch (error) {
      // The same one came twice at once, and the other was first.
      if (!isConstraintViolation(error, 'delivery_id_once')) throw error
    }
  }
  const first = seen ?? (await findSame(db, delivery))
  const reason = first === null ? 'it came twice at once' : `it came before: ${first.id} (${first.verdict})`
  const id = await insert(db, { ...delivery, parsed: null, payload: null, settled: { verdict: 'duplicate', code: 'duplicate', reason } })
  return { id, duplicateOf: first?.id ?? id }
}

async function insert(db: Queryable, delivery: NewDelivery): Promise<string> {
  const id = randomId('del')
  const { settled } = delivery
  await db.query(
    `with added as (
       insert into webhook_deliveries (id, webhook_id, delivery_id, event, body_digest, verdict, code, reason, parsed, payload, payload_bytes,
                                       used_previous_secret, replay_of, decided_at)
       values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, case when $6 <> 'received' then clock_timestamp() end) returning verdict)
     select pg_notify($14, $15) from added where verdict = 'received'`,
    [
      id,
      delivery.webhookId,
      delivery.deliveryId,
      delivery.event,
      delivery.bodyDigest,
      settled?.verdict ?? 'received',
      settled?.code ?? null,
      settled?.reason ?? '',
      delivery.parsed === null ? null : JSON.stringify(delivery.parsed),
      delivery.payload,
      delivery.payloadBytes,
      delivery.usedPreviousSecret,
      delivery.replayOf ?? null,
      CHANNEL,
      JSON.stringify(DELIVERY_NOTICE),
    ],
    { name: 'insert-delivery' },
  )
  return id
}

/**
 * The first with this id, or with this body: at most hosts the header with the id is not signed, so whoever got hold of a request could
 * send it again under another id.
 */
async function findSame(db: Queryable, delivery: NewDelivery): Promise<{ id: string; verdict: string } | null> {
  const [row] = await db.query<{ id: string; verdict: string }>(
    `select id, verdict from webhook_deliveries
      where webhook_id = $1 and (delivery_id = $2 or body_digest = $3) and verdict not in ('refused', 'duplicate', 'failed') and replay_of is null
      order by position limit 1`,
    [delivery.webhookId, delivery.deliveryId, delivery.bodyDigest],
    { name: 'find-same-delivery' },
  )
  return row ?? null
}

/** Notes a request that was refused. Anybody can send those: only the newest few are kept, and nothing of what they held (I12). */
export async function insertRefusal(
  db: Queryable,
  refusal: { readonly webhookId: string; readonly code: string; readonly reason: string; readonly payloadBytes: number },
): Promise<void> {
  const id = randomId('del')
  await db.query(
    `insert into webhook_deliveries (id, webhook_id, delivery_id, body_digest, verdict, code, reason, payload_bytes, decided_at)
     select $1, id, $1, '', 'refused', $3, $4, $5, clock_timestamp() from webhooks where id = $2`,
    [id, refusal.webhookId, refusal.code, refusal.reason, refusal.payloadBytes],
  )
  await db.query(
    `delete from webhook_deliveries where webhook_id = $1 and verdict = 'refused' and position <=
       (select position from webhook_deliveries where webhook_id = $1 and verdict = 'refused' order by position desc offset $2 limit 1)`,
    [refusal.webhookId, LIMITS.webhookRefusalsKept],
  )
}

/** Newest first; `before` is the position of the last one that was seen. */
export async function listDeliveries(
  db: Queryable,
  filter: { readonly webhookId: string; readonly before: number | null; readonly limit: number },
): Promise<DeliveryRecord[]> {
  return db.query<DeliveryRecord>(
    `select ${COLUMNS} from webhook_deliveries d where d.webhook_id = $1 and ($2::bigint is null or d.position < $2)
      order by d.position desc limit $3`,
    [filter.webhookId, filter.before, filter.limit],
  )
}

/** `webhookId`: of that webhook only; null = whichever it came by. */
export async function findDelivery(
  db: Queryable,
  webhookId: string | null,
  id: string,
): Promise<(DeliveryRecord & { readonly parsed: WebhookEvent | null; readonly bodyDigest: string }) | null> {
  const [row] = await db.query<DeliveryRecord & { parsed: WebhookEvent | null; bodyDigest: string }>(
    `select ${COLUMNS}, d.parsed, d.body_digest as "bodyDigest" from webhook_deliveries d where ($1::text is null or d.webhook_id = $1) and d.id = $2`,
    [webhookId, id],
  )
  return row ?? null
}

/** A delivery that was stored and waits to be decided. */
export interface WaitingDelivery {
  readonly id: string
  readonly webhookId: string
  readonly projectId: ProjectId
  readonly project: string
  readonly serviceId: ServiceId
  readonly service: string
  readonly previewRules: PreviewRules | null
  readonly provider: WebhookProviderName
  readonly repository: string
  readonly isReplay: boolean
  readonly isHeadCheck: boolean
  /** How often deciding it was begun and did not come to an end. */
  readonly tries: number
  readonly event: WebhookEvent | null
}

/**
 * The oldest delivery of some service that nobody else is deciding for, with that service locked until commit: deliveries of one service
 * are decided in the order in which they came, whichever server does it.
 */
export async function takeDelivery(tx: Queryable): Promise<WaitingDelivery | null> {
  const [locked] = await tx.query<{ id: ServiceId }>(
    `select s.id from services s
      where s.id in (select w.service_id from webhook_deliveries d join webhooks w on w.id = d.webhook_id where d.verdict = 'received')
      order by (select min(d.position) from webhook_deliveries d join webhooks w on w.id = d.webhook_id
                 where d.verdict = 'received' and w.service_id = s.id)
      limit 1 for no key update of s skip locked`,
  )
  if (locked === undefined) return null
  const [row] = await tx.query<WaitingDelivery>(
    `select d.id, d.webhook_id as "webhookId", w.project_id as "projectId", w.service_id as "serviceId", s.name as service, w.provider,
            (select p.name from projects p where p.id = w.project_id) as project, w.preview_rules as "previewRules", w.repository, d.replay_of is not null as "isReplay", d.event = $2 as "isHeadCheck", d.tries, d.parsed as event
       from webhook_deliveries d join webhooks w on w.id = d.webhook_id join services s on s.id = w.service_id
      where w.service_id = $1 and d.verdict = 'received' order by d.position limit 1 for update of d`,
    [locked.id, HEAD_CHECK_EVENT],
  )
  return row ?? null
}

/** `event` of a delivery that no host sent: the look at the branch heads found a push that never arrived. */
export const HEAD_CHECK_EVENT = 'head-check'

export async function hasWaitingHeadCheck(db: Queryable, webhookId: string): Promise<boolean> {
  const rows = await db.query(`select 1 from webhook_deliveries where webhook_id = $1 and verdict = 'received' and event = $2 limit 1`, [
    webhookId,
    HEAD_CHECK_EVENT,
  ])
  return rows.length > 0
}

/** Counted outside of the transaction that decides, which may be lost with the server. */
export async function countTry(db: Queryable, id: string): Promise<void> {
  await db.query(`update webhook_deliveries set tries = tries + 1 where id = $1 and verdict = 'received'`, [id])
}

/** What can't be decided is settled all the same: the ones behind it wait for it. */
export async function giveUpDelivery(db: Queryable, id: string, code: 'undecidable' | 'internal', reason: string): Promise<void> {
  await db.query(
    `update webhook_deliveries set verdict = 'failed', code = $2, reason = $3, decisions = '[]', decided_at = clock_timestamp()
      where id = $1 and verdict = 'received'`,
    [id, code, reason],
  )
}

export async function recordVerdict(
  tx: Queryable,
  id: string,
  outcome: {
    readonly verdict: DeliveryVerdict
    readonly code: string | null
    readonly reason: string
    readonly decisions: readonly EnvironmentDecision[]
  },
): Promise<void> {
  await tx.query(
    `update webhook_deliveries set verdict = $2, code = $3, reason = $4, decisions = $5, deployment_ids = $6, decided_at = clock_timestamp()
      where id = $1`,
    [
      id,
      outcome.verdict,
      outcome.code,
      outcome.reason,
      JSON.stringify(outcome.decisions),
      outcome.decisions.flatMap(({ deploymentId }) => (deploymentId === null ? [] : [deploymentId])),
    ],
  )
}

/** Old deliveries go, and of a webhook with very many all but the newest. Those that wait to be decided stay. */
export async function forgetOldDeliveries(db: Queryable): Promise<void> {
  await db.query(
    `delete from webhook_deliveries d using (
       select id, received_at, verdict, row_number() over (partition by webhook_id order by position desc) as place from webhook_deliveries) o
      where d.id = o.id and o.verdict <> 'received' and (o.place > $1 or o.received_at < now() - make_interval(secs => $2))`,
    [LIMITS.webhookDeliveriesKept, LIMITS.webhookDeliveryKeptMs / 1000],
  )
}
