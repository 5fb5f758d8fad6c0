import { rm } from 'node:fs/promises'
import { crashPoint } from '../core/crash-points.ts'
import type { ShiplockError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { DeploymentError, Instance, ProbeAttempt, Verdict } from '../domain/deployment.ts'
import { STAGES } from '../domain/deployment-machine.ts'
import { logTailOf } from '../stages/instance-labels.ts'
import { isAdopted } from '../stages/launch.ts'
import { STAGE } from '../stages/pipeline.ts'
import { withRetry } from '../store/retry.ts'
import type { Lease } from '../store/sql/leases.ts'
import { commitEnding, commitVerdict } from './commit.ts'
import type { EngineDependencies } from './dependencies.ts'
import type { LogWriter } from './log-writer.ts'
import { stageContext } from './stage-context.ts'
import { deploymentDirectory, loadWork, type Work } from './work.ts'

/**
 * Ends a deployment before its swap. First the verdict is written (so that a crash can't turn back to "go live"), then everything that
 * was made is undone, newest stage first, then the deployment settles and its slot is free. What is live was never touched (I1).
 */
export async function endDeployment(
  dependencies: EngineDependencies,
  work: Work,
  log: LogWriter,
  decision?: { readonly verdict: Verdict; readonly error: ShiplockError | null },
): Promise<Lease | null> {
  let ending = work
  if (decision !== undefined) {
    const error = decision.error === null ? null : await explain(dependencies, work, decision.error)
    const reason = error === null ? canceledReason(work) : error.message
    const options = { isIdempotent: true }
    await withRetry(() => dependencies.database.transaction((tx) => commitVerdict(tx, work, decision.verdict, error, reason)), options)
    ending = await withRetry(() => loadWork(dependencies, dependencies.database, work.lease), options)
  }
  crashPoint('undo.before')
  await undo(dependencies, ending, log)
  crashPoint('undo.done-not-recorded')
  log.write('engine', `${ending.deployment.verdict}: ${ending.deployment.statusReason}`, null)
  await log.flush()
  await withRetry(() => dependencies.database.transaction((tx) => commitEnding(tx, ending, leftovers(ending))))
  crashPoint('settle.recorded')
  return null
}

function canceledReason(work: Work): string {
  const { statusReason, stage } = work.deployment
  return `${statusReason.replace(' asked to cancel', '') || 'somebody'} canceled it during ${stage}`
}

async function undo(dependencies: EngineDependencies, work: Work, log: LogWriter): Promise<void> {
  const context = stageContext(dependencies, work, log, new AbortController().signal)
  const from = work.deployment.stage === null ? 0 : STAGES.indexOf(work.deployment.stage)
  for (const name of STAGES.slice(0, from + 1).reverse()) {
    const stage = STAGE[name]
    if (stage.undo !== undefined) await persist(dependencies, work, name, () => stage.undo?.(context) ?? Promise.resolve())
  }
  await rm(deploymentDirectory(dependencies.workDirectory, work.deployment.id), { recursive: true, force: true })
}

/** An undo that keeps failing is left to the reaper: the deployment must reach its end (I5). */
async function persist(dependencies: EngineDependencies, work: Work, name: string, undoStage: () => Promise<void>): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await undoStage()
    } catch (error) {
      dependencies.logger.warn('an undo failed', { deploymentId: work.deployment.id, stage: name, attempt, error })
      if (attempt === LIMITS.undoRetries) return
      await dependencies.clock.sleep(LIMITS.unknownOutcomeRetryMs * attempt)
    }
  }
}

/** Adopted instances go back to standby, the deployment's own are gone. */
function leftovers(work: Work): Instance[] {
  const standbyMs = work.deployment.facts.config?.deploy.standbyMs ?? 0
  return work.instances.map((instance) =>
    isAdopted(work, instance)
      ? { ...instance, state: 'standby', standbyUntil: new Date(Date.now() + standbyMs).toISOString() }
      : { ...instance, state: 'removed' },
  )
}

/** The error as it is kept: with the probes and the last lines of the instances, read before they are removed. */
async function explain(dependencies: EngineDependencies, work: Work, error: ShiplockError): Promise<DeploymentError> {
  // A status reason is one sentence; what a tool printed below it belongs to the log.
  const [message = '', ...rest] = work.redact(error.message).split('\n')
  const details = error.details as { logTail?: readonly string[]; attempts?: readonly ProbeAttempt[] }
  const tails = details.logTail ?? (await lastLines(dependencies, work))
  return {
    code: error.code,
    message,
    hint: error.hint,
    stage: work.deployment.stage,
    logTail: [...rest, ...tails.map(work.redact)].slice(-LIMITS.errorLogTailLines),
    attempts: (details.attempts ?? []).slice(-LIMITS.probeAttemptsKept),
  }
}

async function lastLines(dependencies: EngineDependencies, work: Work): Promise<string[]> {
  const perInstance = await Promise.all(work.instances.map((instance) => logTailOf(dependencies, instance.id, LIMITS.errorLogTailLines)))
  return perInstance.flat()
}
