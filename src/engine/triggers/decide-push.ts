import { isShiplockError } from '../../core/errors.ts'
import { orderOf, refName } from '../../domain/branch-head.ts'
import type { Source, TriggerPush } from '../../domain/deployment.ts'
import type { PushEvent } from '../../domain/push.ts'
import { decide, rulesOf, type SkipCode } from '../../domain/trigger-decision.ts'
import type { Queryable } from '../../store/database.ts'
import { findHead, findLiveWith, type HeadDecision, listPushTargets, type PushTarget, saveHead } from '../../store/sql/branch-heads.ts'
import { lockServiceEnvironment, type ServiceEnvironment } from '../../store/sql/catalog.ts'
import type { EnvironmentDecision } from '../../store/sql/deliveries.ts'
import { findFreeze } from '../../store/sql/freezes.ts'
import { deployPush } from '../commands/deploy.ts'
import type { TriggerDependencies } from './dependencies.ts'
import type { TriggerMatches } from './trigger-matches.ts'

/** A push, and where it came from. */
export interface Push {
  readonly event: PushEvent
  readonly deliveryId: string | null
  readonly provider: string
  /** Address that code is fetched from; never one of the payload. */
  readonly repository: string
  readonly foundBy: HeadDecision['foundBy']
  /** Decided again because somebody asked, or because what spoke against it ended: that it is known already does not count. */
  readonly isAgain: boolean
  /** What patterns say about it, as far as it is known. */
  readonly matches: TriggerMatches
}

/** Decides a push for one environment; what it deploys is queued, in the caller's transaction. @throws NotMatchedYet */
export async function decidePush(
  dependencies: TriggerDependencies,
  tx: Queryable,
  target: PushTarget,
  push: Push,
): Promise<EnvironmentDecision> {
  const { event } = push
  const ref = refName(event.ref)
  const rules = rulesOf(target)
  const match = push.matches.of(push, rules)
  const locked = await lockServiceEnvironment(tx, target.id)
  const freeze = await findFreeze(tx, target.environmentId)
  const decision = decide(event, rules, { hold: locked.hold, freeze, now: dependencies.clock.now() }, match)
  const head = await findHead(tx, target.id, ref)
  const order = orderOf(event, head)
  if (decision.verdict === 'skip' && !isAboutHead(decision.code)) {
    if (decision.code === 'deletion' && head !== null) await saveHead(tx, target.id, headOf(push, decision, null))
    return skipped(target, decision)
  }
  if (!push.isAgain && head !== null && order === 'known') {
    const by = head.foundBy === 'head-check' ? 'the look at the branch heads had found it' : 'it was decided already'
    return skipped(target, {
      code: 'known',
      reason: `${short(event.after)}: ${by}${head.deploymentId === null ? '' : ` (${head.deploymentId})`}`,
    })
  }
  if (!push.isAgain && order === 'overtaken') {
    return skipped(target, {
      code: 'overtaken',
      reason: `${short(event.after)}: the push on top of it, ${short(head?.sha ?? null)}, came first`,
    })
  }
  // A replay of an earlier push does not turn the branch back: the look at the heads would bring its tip at once.
  const save = async (head: HeadDecision) => {
    if (push.foundBy !== 'replay' || order === 'next' || order === 'known') await saveHead(tx, target.id, head)
  }
  if (decision.verdict === 'skip') {
    await save(headOf(push, decision, null))
    return skipped(target, decision)
  }
  const live = push.foundBy === 'head-check' && event.after !== null ? await findLiveWith(tx, target.id, event.after) : null
  if (live !== null) {
    const known = { code: 'known', reason: `${short(event.after)} is live already (${live.id})` } as const
    await save(headOf(push, known, null))
    return skipped(target, known)
  }
  const commit = order === 'next' || push.isAgain ? commitOf(event) : null
  const queued = await enqueue(dependencies, tx, locked, push, commit, decision.reason)
  if ('code' in queued) {
    await save(headOf(push, queued, null))
    return skipped(target, queued)
  }
  await save(headOf(push, { reason: decision.reason }, queued.deploymentId))
  const { deploymentId } = queued
  return { environment: target.environment, verdict: 'queued', code: null, reason: decision.reason, final: true, deploymentId }
}

interface Skip {
  readonly code: SkipCode
  readonly reason: string
  readonly isFinal?: boolean
}

/** The same path as a manual deployment takes; only the hold is not ended by it. */
async function enqueue(
  dependencies: TriggerDependencies,
  tx: Queryable,
  target: ServiceEnvironment,
  push: Push,
  commit: string | null,
  reason: string,
): Promise<{ readonly deploymentId: string } | Skip> {
  const { event } = push
  const source: Source = { kind: 'git', url: push.repository, ref: refName(event.ref) }
  const about: TriggerPush = {
    provider: push.provider,
    deliveryId: push.deliveryId ?? '',
    ref: refName(event.ref),
    commit,
    author: event.headCommit?.author ?? null,
    message: event.headCommit?.message.split('\n')[0] ?? null,
  }
  try {
    dependencies.validateSource(source)
    const kind = push.foundBy === 'head-check' ? 'schedule' : 'webhook'
    const actor = event.pusher ?? event.headCommit?.author ?? push.provider
    const deployment = await deployPush(tx, target, { source, trigger: { kind, actor, note: reason, push: about } })
    return { deploymentId: deployment.id }
  } catch (error) {
    if (isShiplockError(error, 'SOURCE_REFUSED')) return { code: 'unusable-ref', reason: error.message }
    if (isShiplockError(error, 'CONFLICT')) return { code: 'queue-full', reason: error.message, isFinal: false }
    throw error
  }
}

/** Of an annotated tag `after` is the tag itself. */
function commitOf({ ref, headCommit, after }: PushEvent): string | null {
  return headCommit?.sha ?? (ref.kind === 'branch' ? after : null)
}

/** These are about a ref that the environment follows: that they were decided is remembered, so that the look at the heads leaves them alone. */
function isAboutHead(code: SkipCode): boolean {
  return code === 'skip-word' || code === 'watch' || code === 'frozen' || code === 'held'
}

function headOf(push: Push, decision: { code?: SkipCode; reason: string; isFinal?: boolean }, deploymentId: string | null): HeadDecision {
  return {
    ref: refName(push.event.ref),
    sha: push.event.after,
    beforeSha: push.event.before,
    verdict: deploymentId === null ? 'skipped' : 'queued',
    code: decision.code ?? null,
    reason: decision.reason,
    isFinal: decision.isFinal ?? true,
    foundBy: push.foundBy,
    deliveryId: push.deliveryId,
    deploymentId,
  }
}

function skipped(target: PushTarget, { code, reason, isFinal = true }: Skip): EnvironmentDecision {
  return { environment: target.environment, verdict: 'skipped', code, reason, final: isFinal, deploymentId: null }
}

function short(sha: string | null): string {
  return sha === null ? 'nothing' : `commit ${sha.slice(0, 12)}`
}

/** Decides a push for every environment of a service. @throws NotMatchedYet */
export async function decideEverywhere(
  dependencies: TriggerDependencies,
  tx: Queryable,
  serviceId: ServiceEnvironment['serviceId'],
  push: Push,
): Promise<EnvironmentDecision[]> {
  const decisions: EnvironmentDecision[] = []
  const targets = await listPushTargets(tx, serviceId)
  push.matches.require(push, targets.map(rulesOf))
  for (const target of targets) decisions.push(await decidePush(dependencies, tx, target, push))
  return decisions
}
