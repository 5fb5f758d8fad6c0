import { createHash } from 'node:crypto'
import { isShiplockError } from '../../core/errors.ts'
import type { Source } from '../../domain/deployment.ts'
import type { EnvironmentId } from '../../domain/ids.ts'
import { decidePreview, type PreviewDecision, type PreviewRules, type PreviewState, previewName, pullRef } from '../../domain/preview.ts'
import type { PullRequestEvent } from '../../domain/push.ts'
import type { Queryable } from '../../store/database.ts'
import { ensureServiceEnvironment, findServiceEnvironment, lockServiceEnvironment } from '../../store/sql/catalog.ts'
import type { DeliveryVerdict, EnvironmentDecision, WaitingDelivery } from '../../store/sql/deliveries.ts'
import { appendEvents } from '../../store/sql/events.ts'
import {
  askForApproval,
  findPreview,
  findTemplate,
  forgetApprovals,
  insertPreviewEnvironment,
  isNameFree,
  listApprovedShas,
  PREVIEW_ENDING,
  type PreviewRow,
  type PullRequestKey,
  readPreviewRoom,
  savePreview,
  voidWaiting,
} from '../../store/sql/previews.ts'
import { beginEnvironmentRemoval } from '../../store/sql/removals.ts'
import { deployPush } from '../commands/deploy.ts'
import type { TriggerDependencies } from './dependencies.ts'

interface Outcome {
  readonly verdict: DeliveryVerdict
  readonly code: string | null
  readonly reason: string
  readonly decisions: readonly EnvironmentDecision[]
}

interface PullRequest {
  readonly delivery: WaitingDelivery
  readonly event: PullRequestEvent
  readonly rules: PreviewRules
  readonly key: PullRequestKey
  readonly preview: PreviewRow | null
}

/** What a pull request does to its preview, in the caller's transaction: environment, deployment, removal and verdict are one commit. */
export async function decidePullRequest(
  dependencies: TriggerDependencies,
  tx: Queryable,
  delivery: WaitingDelivery,
  event: PullRequestEvent,
): Promise<Outcome> {
  const rules = delivery.previewRules
  if (rules === null) return skip('no-previews', `pull request #${event.number}: this service has no previews`)
  const key = { projectId: delivery.projectId, repository: delivery.repository, number: event.number }
  await voidWaiting(tx, delivery.webhookId, event.number)
  const room = await readPreviewRoom(tx, key.projectId)
  const preview = await findPreview(tx, key, delivery.serviceId)
  const max = Math.min(rules.max, room.previewsMax ?? rules.max)
  const decision = decidePreview(
    event,
    { ...rules, max },
    stateOf(preview, delivery, room.previews, event.number, await listApprovedShas(tx, key)),
  )
  if (!event.isOpen) await forgetApprovals(tx, key)
  const request: PullRequest = { delivery, event, rules, key, preview }
  if (preview?.isRemoving === true) return whileEnding(preview, decision)
  if (decision.action === 'create' && room.isFull) return skip('plan-limit', 'the project has all the environments that its plan allows')
  return carryOut(dependencies, tx, request, decision)
}

/** A preview that ends does not count as one that stands. A replay is of a commit that may be there, and is meant to be deployed again. */
function stateOf(
  preview: PreviewRow | null,
  { isReplay }: WaitingDelivery,
  count: number,
  number: number,
  approvedShas: ReadonlySet<string>,
): PreviewState {
  if (preview === null || preview.isRemoving) return { preview: null, count: count - (preview === null ? 0 : 1), approvedShas }
  const headSha = isReplay ? '' : (preview.headSha ?? '')
  return { preview: { number, headSha, expiresAt: preview.expiresAt }, count, approvedShas }
}

/** Its name and host are still taken. */
function whileEnding(preview: PreviewRow, decision: PreviewDecision): Outcome {
  if (decision.action !== 'create' && decision.action !== 'await-approval') return skip('unwanted', decision.reason)
  const reason = `${preview.environment} is on its way out; decided again once it is gone`
  return { ...skip(PREVIEW_ENDING, reason), decisions: [skipped(preview.environment, PREVIEW_ENDING, reason, false)] }
}

async function carryOut(
  dependencies: TriggerDependencies,
  tx: Queryable,
  request: PullRequest,
  decision: PreviewDecision,
): Promise<Outcome> {
  const { event, key, delivery, preview } = request
  switch (decision.action) {
    case 'none':
      return skip('unwanted', decision.reason)
    case 'await-approval':
      await askForApproval(tx, key, event, delivery.id)
      await tell(tx, request, 'preview.waiting', decision.reason, preview?.environmentId ?? null)
      return skip('approval', decision.reason)
    case 'remove':
      if (preview === null) return skip('unwanted', decision.reason)
      await beginEnvironmentRemoval(tx, preview.environmentId, {
        by: event.author === '' ? delivery.provider : event.author,
        isCanceling: true,
        reason: decision.reason,
      })
      return skip('preview-removed', `${preview.environment} is being removed: ${decision.reason}`)
    case 'create':
    case 'update':
      return deploy(dependencies, tx, request, decision)
  }
}

async function deploy(dependencies: TriggerDependencies, tx: Queryable, request: PullRequest, decision: PreviewDecision): Promise<Outcome> {
  const { delivery, event, rules, key } = request
  const source: Source = { kind: 'git', url: delivery.repository, ref: pullRef(delivery.provider, event.number) }
  const templateId = await findTemplate(tx, key.projectId, rules.template ?? '')
  if (templateId === null) return skip('no-template', `there is no environment ${rules.template} to start a preview from`)
  try {
    dependencies.validateSource(source)
    const environment = request.preview?.environment ?? (await freeName(tx, key))
    const environmentId = request.preview?.environmentId ?? (await insertPreviewEnvironment(tx, key.projectId, environment, templateId))
    await savePreview(tx, key, { environmentId, webhookId: delivery.webhookId, event, ttlMs: rules.ttlMs })
    const deploymentId = await enqueue(dependencies, tx, request, { environment, source, reason: decision.reason })
    await tell(tx, request, request.preview === null ? 'preview.created' : 'preview.updated', decision.reason, environmentId)
    const made = { environment, verdict: 'queued', code: null, reason: decision.reason, final: true, deploymentId } as const
    return { verdict: 'queued', code: null, reason: decision.reason, decisions: [made] }
  } catch (error) {
    if (isShiplockError(error, 'SOURCE_REFUSED')) return skip('unusable-ref', error.message)
    if (isShiplockError(error, 'CONFLICT')) return skip('conflict', error.message)
    throw error
  }
}

/** Exactly the commit of the event, also when the branch has moved on: what somebody approved, nothing else. */
async function enqueue(
  dependencies: TriggerDependencies,
  tx: Queryable,
  { delivery, event, rules }: PullRequest,
  { environment, source, reason }: { readonly environment: string; readonly source: Source & { kind: 'git' }; readonly reason: string },
): Promise<string> {
  const { project, service, provider } = delivery
  const host = dependencies.previewHost({ service, project, number: event.number })
  const made = await ensureServiceEnvironment(tx, { project, environment, service }, null, host)
  const target = await lockServiceEnvironment(tx, made.id)
  const template = await findServiceEnvironment(tx, { project, environment: rules.template ?? '', service })
  const author = event.author === '' ? null : event.author
  const deployment = await deployPush(tx, target, {
    source,
    queue: 'latest',
    isRebuild: delivery.isReplay,
    // The template says where in the source the service is: what comes with a pull request decides nothing.
    rulesOf: template,
    trigger: {
      kind: 'webhook',
      actor: author ?? provider,
      note: reason,
      push: { provider, deliveryId: delivery.id, ref: source.ref ?? '', commit: event.headSha, author, message: event.title },
    },
  })
  return deployment.id
}

/** `preview-7`; two repositories of a project may both have a number 7. */
async function freeName(tx: Queryable, { projectId, repository, number }: PullRequestKey): Promise<string> {
  const name = previewName(number)
  if (await isNameFree(tx, projectId, name)) return name
  return `${name}-${createHash('sha256').update(repository).digest('hex').slice(0, 6)}`
}

async function tell(
  tx: Queryable,
  { delivery, event, key }: PullRequest,
  type: 'preview.created' | 'preview.updated' | 'preview.waiting',
  message: string,
  environmentId: EnvironmentId | null,
): Promise<void> {
  await appendEvents(tx, [
    {
      type,
      message,
      projectId: key.projectId,
      environmentId,
      serviceId: delivery.serviceId,
      serviceEnvironmentId: null,
      deploymentId: null,
      instanceId: null,
      data: { number: event.number, commit: event.headSha, author: event.author, isFork: event.isFork },
    },
  ])
}

function skip(code: string, reason: string): Outcome {
  return { verdict: 'skipped', code, reason, decisions: [] }
}

function skipped(environment: string, code: string, reason: string, final: boolean): EnvironmentDecision {
  return { environment, verdict: 'skipped', code, reason, final, deploymentId: null }
}
