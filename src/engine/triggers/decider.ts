import { crashPoint } from '../../core/crash-points.ts'
import { ShiplockError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import { printable } from '../../core/printable.ts'
import type { PushEvent } from '../../domain/push.ts'
import { isTransient, type Queryable } from '../../store/database.ts'
import {
  findDeploymentOf,
  type HeadToRevisit,
  listPushTargets,
  type PushTarget,
  saveHead,
  takeHeadToRevisit,
} from '../../store/sql/branch-heads.ts'
import { getServiceEnvironment } from '../../store/sql/catalog.ts'
import {
  countTry,
  type EnvironmentDecision,
  findDelivery,
  giveUpDelivery,
  recordVerdict,
  takeDelivery,
  type WaitingDelivery,
} from '../../store/sql/deliveries.ts'
import { Periodic } from '../periodic.ts'
import { decidePullRequest } from './decide-pull-request.ts'
import { decideEverywhere, decidePush } from './decide-push.ts'
import type { TriggerDependencies } from './dependencies.ts'
import { NotMatchedYet, TriggerMatches } from './trigger-matches.ts'

/**
 * Decides what deliveries do, after they were answered: a git host never waits for the queue. Verdict, head of the branch and the
 * deployment that comes of it are one transaction, so a crash in between leaves the delivery waiting, and it is decided once.
 */
export function createDecider(dependencies: TriggerDependencies): Periodic {
  return new Periodic('decider', LIMITS.triggerPeriodMs, dependencies, async (signal) => {
    while (!signal.aborted && (await decideNext(dependencies, signal))) {}
    while (!signal.aborted && (await revisitNext(dependencies, signal))) {}
  })
}

/** One delivery; false when none waits that is not in other hands. */
export async function decideNext(dependencies: TriggerDependencies, signal: AbortSignal): Promise<boolean> {
  const matches = new TriggerMatches(dependencies.matchTrigger)
  for (;;) {
    const attempt: Attempt = { delivery: null }
    try {
      const isDecided = await dependencies.database.transaction((tx) => decideOldest(dependencies, tx, attempt, matches))
      if (isDecided) crashPoint('delivery.recorded')
      return isDecided
    } catch (error) {
      const { delivery } = attempt
      if (delivery === null) throw error
      const isSettled = await afterFailure(dependencies, delivery, error, matches, signal)
      if (isSettled) return true
    }
  }
}

/** What a transaction that may be rolled back was about. */
interface Attempt {
  delivery: WaitingDelivery | null
}

async function decideOldest(dependencies: TriggerDependencies, tx: Queryable, attempt: Attempt, matches: TriggerMatches): Promise<boolean> {
  const delivery = await takeDelivery(tx)
  attempt.delivery = delivery
  if (delivery === null) return false
  if (delivery.tries >= LIMITS.deliveryTries) {
    await giveUpDelivery(
      tx,
      delivery.id,
      'undecidable',
      `it was tried ${delivery.tries} times without coming to a decision; a replay tries again`,
    )
    return true
  }
  await decideDelivery(dependencies, tx, delivery, matches)
  crashPoint('delivery.decided-not-recorded')
  return true
}

/** True when it is settled. It must not stand in the way of those after it; the host may send it again, or a person may replay it. */
async function afterFailure(
  dependencies: TriggerDependencies,
  delivery: WaitingDelivery,
  error: unknown,
  matches: TriggerMatches,
  signal: AbortSignal,
): Promise<boolean> {
  const { database, logger } = dependencies
  // First: what the matching brings down with it has been counted then.
  const counted = countTry(database, delivery.id)
  if (isTransient(error)) {
    await counted.catch(() => {})
    throw error
  }
  await counted
  if (error instanceof NotMatchedYet) {
    const problem = await matches.find(error.wanted, signal).then(
      () => null,
      (reason: unknown) => reason,
    )
    signal.throwIfAborted()
    if (problem === null) return false
    if (problem instanceof ShiplockError && problem.info.actor === 'user') {
      logger.warn('a delivery can’t be decided', { deliveryId: delivery.id, error: problem })
      await giveUpDelivery(database, delivery.id, 'undecidable', `${problem.message}. ${problem.hint}`)
      return true
    }
    logger.error('patterns could not be matched', { deliveryId: delivery.id, error: problem })
  } else logger.error('a delivery could not be decided', { deliveryId: delivery.id, error })
  await giveUpDelivery(database, delivery.id, 'internal', 'the server could not decide it; its log says why')
  return true
}

async function decideDelivery(
  dependencies: TriggerDependencies,
  tx: Queryable,
  delivery: WaitingDelivery,
  matches: TriggerMatches,
): Promise<void> {
  const { event } = delivery
  if (event?.kind === 'pullRequest') {
    const outcome = await decidePullRequest(dependencies, tx, delivery, event)
    await recordVerdict(tx, delivery.id, outcome)
    const { verdict, code } = outcome
    dependencies.logger.info('a pull request was decided', { deliveryId: delivery.id, number: event.number, verdict, code })
    return
  }
  if (event === null || event.kind !== 'push') {
    const reason = event === null ? 'it can’t be read any more' : `${event.kind}: nothing to decide`
    await recordVerdict(tx, delivery.id, { verdict: 'ignored', code: 'not-a-push', reason, decisions: [] })
    return
  }
  const decisions = await decideEverywhere(dependencies, tx, delivery.serviceId, {
    event,
    deliveryId: delivery.id,
    provider: delivery.provider,
    repository: delivery.repository,
    foundBy: delivery.isHeadCheck ? 'head-check' : delivery.isReplay ? 'replay' : 'webhook',
    isAgain: delivery.isReplay,
    matches,
  })
  await recordVerdict(tx, delivery.id, { ...summaryOf(decisions, delivery.service), decisions })
  dependencies.logger.info('a push was decided', { deliveryId: delivery.id, ...logged(event, decisions) })
}

function logged(event: PushEvent, decisions: readonly EnvironmentDecision[]) {
  const verdicts = decisions.map((decision) => `${decision.environment}: ${decision.deploymentId ?? decision.code}`)
  return { ref: printable(event.ref.name), commit: event.after, verdicts }
}

/** One verdict for the list: queued when anything was, otherwise why not. */
function summaryOf(decisions: readonly EnvironmentDecision[], service: string) {
  const queued = decisions.filter(({ verdict }) => verdict === 'queued')
  const [first] = queued.length > 0 ? queued : decisions
  if (first === undefined) return { verdict: 'skipped' as const, code: 'no-environment', reason: `${service} is in no environment yet` }
  const reasons = new Set((queued.length > 0 ? queued : decisions).map(({ reason }) => reason))
  const reason = reasons.size === 1 ? first.reason : decisions.map((one) => `${one.environment}: ${one.reason}`).join('; ')
  return { verdict: first.verdict, code: first.code, reason: reason.slice(0, SUMMARY_MAX) }
}
const SUMMARY_MAX = 1000

/** One decision that waited for a hold, a freeze or a full queue; false when none does any more. */
export async function revisitNext(dependencies: TriggerDependencies, signal: AbortSignal): Promise<boolean> {
  const matches = new TriggerMatches(dependencies.matchTrigger)
  /** Of the head that can't be decided again. */
  let given: string | null = null
  for (;;) {
    try {
      return await dependencies.database.transaction((tx) => revisitOldest(dependencies, tx, matches, given))
    } catch (error) {
      if (!(error instanceof NotMatchedYet)) throw error
      await matches.find(error.wanted, signal).catch((reason: unknown) => {
        signal.throwIfAborted()
        dependencies.logger.warn('a push that waited can’t be decided', { error: reason })
        given = reason instanceof ShiplockError ? `${reason.message}. ${reason.hint}` : 'the server could not decide it; its log says why'
      })
    }
  }
}

async function revisitOldest(
  dependencies: TriggerDependencies,
  tx: Queryable,
  matches: TriggerMatches,
  undecidable: string | null,
): Promise<boolean> {
  const head = await takeHeadToRevisit(tx, LIMITS.pendingPerServiceEnvironment)
  if (head === null) return false
  if (undecidable !== null) {
    const settled = { verdict: 'skipped', code: 'undecidable', reason: undecidable, isFinal: true, deploymentId: null } as const
    await saveHead(tx, head.serviceEnvironmentId, { ...head, ...settled })
    return true
  }
  const environment = await getServiceEnvironment(tx, head.serviceEnvironmentId)
  const targets = environment === null ? [] : await listPushTargets(tx, environment.serviceId)
  const target = targets.find(({ id }) => id === head.serviceEnvironmentId)
  return target !== undefined && revisit(dependencies, tx, head, target, matches)
}

async function revisit(
  dependencies: TriggerDependencies,
  tx: Queryable,
  head: HeadToRevisit,
  target: PushTarget,
  matches: TriggerMatches,
): Promise<boolean> {
  const made = await findDeploymentOf(tx, target.id, head.sha, head.decidedAt)
  if (made !== null || head.repository === null) {
    const reason = made === null ? 'the webhook is gone' : `${made.id} has this commit`
    await saveHead(tx, target.id, { ...head, verdict: 'skipped', code: 'known', reason, isFinal: true, deploymentId: made?.id ?? null })
    return true
  }
  const delivery = head.deliveryId === null ? null : await findDelivery(tx, null, head.deliveryId)
  const event = delivery?.parsed?.kind === 'push' ? delivery.parsed : eventOf(head)
  const push = { event, deliveryId: head.deliveryId, provider: head.provider ?? '', repository: head.repository, foundBy: head.foundBy }
  const decision = await decidePush(dependencies, tx, target, { ...push, isAgain: true, matches })
  const { code, reason, deploymentId } = decision
  // Whatever it is now, it does not wait any longer.
  if (decision.final && deploymentId === null) {
    await saveHead(tx, target.id, { ...head, verdict: 'skipped', code, reason, isFinal: true, deploymentId })
  }
  if (delivery !== null) await amend(tx, delivery.id, delivery.decisions, decision)
  dependencies.logger.info('a push that waited was decided', { ...logged(event, [decision]) })
  return decision.final
}

/** The delivery that set it off says what became of it. */
async function amend(tx: Queryable, id: string, before: readonly EnvironmentDecision[], now: EnvironmentDecision): Promise<void> {
  const decisions = [...before.filter(({ environment }) => environment !== now.environment), now]
  await recordVerdict(tx, id, { ...summaryOf(decisions, ''), decisions })
}

/** What is left of a push whose delivery is gone. */
function eventOf(head: { readonly ref: string; readonly sha: string; readonly beforeSha: string | null }): PushEvent {
  const kind = head.ref.startsWith('refs/tags/') ? 'tag' : 'branch'
  const name = head.ref.replace(/^refs\/(?:heads|tags)\//, '')
  return {
    kind: 'push',
    ref: { kind, name },
    before: head.beforeSha,
    after: head.sha,
    isCreation: false,
    isDeletion: false,
    isForced: null,
    headCommit: null,
    changedPaths: null,
    changedPathsNote: 'the delivery is no longer kept',
    pusher: null,
    repository: { name: '', defaultBranch: kind === 'branch' ? name : null, urls: [] },
  }
}
