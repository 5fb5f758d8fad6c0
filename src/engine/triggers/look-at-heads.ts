import { LIMITS } from '../../core/limits.ts'
import { randomId } from '../../core/random-id.ts'
import type { PushEvent } from '../../domain/push.ts'
import { rulesOf } from '../../domain/trigger-decision.ts'
import type { RemoteHeads } from '../../sources/source.ts'
import { BASELINE, findHead, listPushTargets, noteHeadChecked, type PushTarget, saveHead } from '../../store/sql/branch-heads.ts'
import { forgetOldDeliveries, HEAD_CHECK_EVENT, hasWaitingHeadCheck, insertDelivery } from '../../store/sql/deliveries.ts'
import { forgetOldOutbox } from '../../store/sql/outbox-queue.ts'
import { type DueHeadCheck, recordHeadCheck, takeDueHeadChecks } from '../../store/sql/webhooks.ts'
import { Periodic } from '../periodic.ts'
import type { TriggerDependencies } from './dependencies.ts'

/** A periodic look at the branch heads of services with a webhook: what never arrived is found, and decided as if it had. */
export function createHeadChecker(dependencies: TriggerDependencies): Periodic {
  const { headCheckMs } = dependencies
  const roundMs = headCheckMs === 0 ? LIMITS.headCheckRoundMs : Math.min(LIMITS.headCheckRoundMs, headCheckMs)
  return new Periodic('look at branch heads', roundMs, dependencies, async (signal) => {
    if (dependencies.headCheckMs === 0) return
    for (const due of await takeDueHeadChecks(dependencies.database, LIMITS.headChecksPerRound, dependencies.headCheckMs)) {
      if (signal.aborted) return
      await lookAtHeads(dependencies, due, signal)
    }
  })
}

/** Old deliveries and what was told long ago are let go. */
export function createTriggerUpkeep(dependencies: TriggerDependencies): Periodic {
  return new Periodic('upkeep of deliveries', LIMITS.triggerUpkeepMs, dependencies, async () => {
    await forgetOldDeliveries(dependencies.database)
    await forgetOldOutbox(dependencies.database)
  })
}

export async function lookAtHeads(dependencies: TriggerDependencies, due: DueHeadCheck, signal: AbortSignal): Promise<void> {
  const { database, headCheckMs, logger } = dependencies
  try {
    const targets = await listPushTargets(database, due.serviceId)
    const wanted = [...new Set(targets.flatMap((target) => rulesOf(target).branch ?? []))]
    const heads = await dependencies.readHeads(
      { ...due, url: due.repository },
      wanted,
      AbortSignal.any([signal, AbortSignal.timeout(LIMITS.headCheckMs)]),
    )
    const found: string[] = []
    for (const target of targets) found.push(await compare(dependencies, due, target, heads))
    await recordHeadCheck(database, due.id, {
      failures: 0,
      nextMs: headCheckMs,
      note: found.join('; ') || 'the service is in no environment yet',
    })
  } catch (error) {
    if (signal.aborted) throw error
    const failures = due.failures + 1
    const nextMs = Math.max(headCheckMs, Math.min(LIMITS.headCheckBackoffMaxMs, headCheckMs * 2 ** failures))
    const note = `the repository could not be asked (${failures} in a row): ${(error as Error).message}`.slice(0, NOTE_MAX)
    logger.warn('branch heads could not be looked at', { webhookId: due.id, failures, error })
    await recordHeadCheck(database, due.id, { failures, nextMs, note })
  }
}
const NOTE_MAX = 500

/** One environment's branch. What it says is for `shiplock webhook show`. */
async function compare(dependencies: TriggerDependencies, due: DueHeadCheck, target: PushTarget, heads: RemoteHeads): Promise<string> {
  const { database, logger } = dependencies
  const branch = rulesOf(target).branch ?? heads.defaultBranch
  if (branch === null) return `${target.environment}: no branch is configured, and the repository names no default one`
  const tip = heads.branches.get(branch)
  const ref = `refs/heads/${branch}`
  if (tip === undefined) return `${target.environment}: the repository has no branch ${branch}`
  const head = await findHead(database, target.id, ref)
  const said = `${target.environment}: ${branch} is at ${tip.slice(0, 12)}`
  if (head === null) {
    // What stood there before is not deployed because somebody made a webhook.
    const reason = `where the branch stood when it was first looked at`
    const base = { ref, sha: tip, beforeSha: null, verdict: 'skipped', code: BASELINE, reason, isFinal: true, deliveryId: null } as const
    await saveHead(database, target.id, { ...base, foundBy: 'head-check', deploymentId: null })
    return `${said}, as a beginning`
  }
  await noteHeadChecked(database, target.id, ref)
  if (head.sha === tip) return `${said}, as known`
  if (await hasWaitingHeadCheck(database, due.id)) return `${said}, to be decided`
  const delivery = await insertDelivery(database, {
    webhookId: due.id,
    deliveryId: randomId('look'),
    event: HEAD_CHECK_EVENT,
    bodyDigest: randomId('look'),
    parsed: missedPush(branch, head.sha, tip, heads.defaultBranch),
    payload: null,
    payloadBytes: 0,
    usedPreviousSecret: false,
  })
  logger.info('a push was found that no webhook had told of', { webhookId: due.id, deliveryId: delivery.id, commit: tip })
  return `${said}, which no delivery had told`
}

function missedPush(branch: string, before: string | null, after: string, defaultBranch: string | null): PushEvent {
  return {
    kind: 'push',
    ref: { kind: 'branch', name: branch },
    before,
    after,
    isCreation: before === null,
    isDeletion: false,
    isForced: null,
    headCommit: null,
    changedPaths: null,
    changedPathsNote: 'no delivery of it arrived; it was found by looking at the branch',
    pusher: null,
    repository: { name: '', defaultBranch, urls: [] },
  }
}
