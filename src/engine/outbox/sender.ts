import { LIMITS } from '../../core/limits.ts'
import { post, type Reach } from '../../core/outgoing.ts'
import { randomId } from '../../core/random-id.ts'
import { findNotificationTarget } from '../../store/sql/notification-targets.ts'
import {
  claimNotifications,
  claimStatuses,
  type DueNotification,
  type DueStatus,
  recordNotificationSent,
  recordStatusSent,
  type SendOutcome,
} from '../../store/sql/outbox-queue.ts'
import type { EngineDependencies } from '../dependencies.ts'
import { Periodic } from '../periodic.ts'
import { notificationRequest } from './notification-request.ts'
import { outcomeOf, outcomeOfFailure } from './send-outcome.ts'
import { isRepetition, statusRequest } from './status-request.ts'

export interface SenderDependencies extends Pick<EngineDependencies, 'database' | 'clock' | 'logger' | 'sealer'> {
  /** Where people reach a host name of a service. */
  urlOf(host: string): string
  /** What may be called. */
  readonly reach: Reach
  /** Certificates (PEM) to believe of git hosts, as they are now; null = those of the system. */
  gitAuthorities(): Promise<string | null>
}

/** Sends what the outboxes hold. A receiver that is away is asked again, later each time; the pipeline never waits for one. */
export function createSenders(dependencies: SenderDependencies): Periodic[] {
  return [
    new Periodic('sender of commit statuses', LIMITS.outboxPeriodMs, dependencies, (signal) => sendStatuses(dependencies, signal)),
    new Periodic('sender of notifications', LIMITS.outboxPeriodMs, dependencies, (signal) => sendNotifications(dependencies, signal)),
  ]
}

export async function sendStatuses(dependencies: SenderDependencies, signal: AbortSignal): Promise<void> {
  for (;;) {
    const due = await claimStatuses(dependencies.database, LIMITS.outboxAtOnce)
    await Promise.all(due.map(async (one) => recordStatusSent(dependencies.database, one.id, await sendStatus(dependencies, one, signal))))
    if (due.length < LIMITS.outboxAtOnce || signal.aborted) return
  }
}

async function sendStatus(
  { sealer, clock, logger, reach, urlOf, gitAuthorities }: SenderDependencies,
  due: DueStatus,
  signal: AbortSignal,
): Promise<SendOutcome> {
  if (due.sealedApiToken === null) return { kind: 'given-up', error: 'the webhook has no token any more' }
  try {
    const targetUrl = due.status === 'success' ? urlOf(due.host) : null
    const request = statusRequest(due, sealer.open(due.sealedApiToken), targetUrl)
    if (request === null)
      return { kind: 'given-up', error: 'the address of the repository names none at a git host; set the webhook’s repository' }
    const authorities = await gitAuthorities()
    const answer = await post({ ...request, reach, signal, ...(authorities === null ? {} : { authorities }) })
    return isRepetition(due.provider, answer) ? { kind: 'sent' } : outcomeOf(answer, due.attempts, clock.now())
  } catch (error) {
    logger.debug('a commit status could not be sent', { id: due.id, error })
    return outcomeOfFailure(error, due.attempts)
  }
}

export async function sendNotifications(dependencies: SenderDependencies, signal: AbortSignal): Promise<void> {
  for (;;) {
    const due = await claimNotifications(dependencies.database, LIMITS.outboxAtOnce)
    await Promise.all(
      due.map(async (one) => recordNotificationSent(dependencies.database, one.id, await sendNotification(dependencies, one, signal))),
    )
    if (due.length < LIMITS.outboxAtOnce || signal.aborted) return
  }
}

async function sendNotification(
  { sealer, clock, reach, urlOf }: SenderDependencies,
  due: DueNotification,
  signal?: AbortSignal,
): Promise<SendOutcome> {
  try {
    const secret = due.sealedSecret === null ? null : sealer.open(due.sealedSecret)
    const request = notificationRequest(due, secret, urlOf, clock.now())
    const answer = await post({ ...request, url: sealer.open(due.sealedUrl), reach, ...(signal === undefined ? {} : { signal }) })
    return outcomeOf(answer, due.attempts, clock.now())
  } catch (error) {
    return outcomeOfFailure(error, due.attempts)
  }
}

/** Sends one that says it is a test, once and now. */
export async function sendTestNotification(
  dependencies: SenderDependencies,
  targetId: string,
): Promise<{ readonly sent: boolean; readonly message: string }> {
  const target = await findNotificationTarget(dependencies.database, targetId)
  if (target === null) return { sent: false, message: 'there is no such target' }
  const { project, environment, kind, sealedUrl, sealedSecret } = target
  const at = new Date(dependencies.clock.now()).toISOString()
  const body = { type: 'test', at, message: `a test from Shiplock: project ${project}`, project, environment }
  const outcome = await sendNotification(dependencies, {
    id: randomId('ntf'),
    attempts: LIMITS.outboxAttempts,
    body,
    kind,
    sealedUrl,
    sealedSecret,
  })
  return outcome.kind === 'sent' ? { sent: true, message: 'taken' } : { sent: false, message: outcome.error }
}
