import { rm } from 'node:fs/promises'
import { crashPoint } from '../core/crash-points.ts'
import { isShiplockError, type ShiplockError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { redactAll, redactLines } from '../core/redact.ts'
import type { DeploymentError, Instance, ProbeAttempt, Verdict } from '../domain/deployment.ts'
import { STAGES } from '../domain/deployment-machine.ts'
import { makerOf } from '../domain/ids.ts'
import { startFailureHint } from '../domain/start-failure.ts'
import { logTailOf } from '../stages/instance-labels.ts'
import { isAdopted } from '../stages/launch.ts'
import { STAGE } from '../stages/pipeline.ts'
import { StageRefusal } from '../stages/stage.ts'
import { withRetry } from '../store/retry.ts'
import type { Lease } from '../store/sql/leases.ts'
import { commitEnding, commitVerdict } from './commit.ts'
import type { EngineDependencies } from './dependencies.ts'
import type { LogWriter } from './log-writer.ts'
import { stageContext } from './stage-context.ts'
import { deploymentDirectory, loadWork, type Work } from './work.ts'

/**
 * The first half of a deployment's end before its swap: the verdict is written, so that neither a crash nor a retry can turn back to
 * "go live". The next round undoes (`endDeployment`). What is live was never touched (I1).
 */
export async function decideEnd(
  dependencies: EngineDependencies,
  work: Work,
  decision: { readonly verdict: Verdict; readonly error: ShiplockError | null },
): Promise<Lease> {
  const { database } = dependencies
  const error = decision.error === null ? null : await explain(dependencies, work, decision.error)
  const leaves = decision.error instanceof StageRefusal ? decision.error.leaves : {}
  await withRetry(
    () =>
      database.transaction(async (tx) => {
        const reason = error === null ? canceledReason(await loadWork(dependencies, tx, work.lease)) : error.message
        await commitVerdict(tx, work, decision.verdict, error, reason, leaves)
      }),
    { isIdempotent: true },
  )
  return work.lease
}

/** The second half: everything that was made is undone, newest stage first, then the deployment settles and its slot is free. */
export async function endDeployment(dependencies: EngineDependencies, work: Work, log: LogWriter): Promise<null> {
  crashPoint('undo.before')
  await undo(dependencies, work, log)
  crashPoint('undo.done-not-recorded')
  log.write('engine', `${work.deployment.verdict}: ${work.deployment.statusReason}`, null)
  await log.flush()
  const left = await leftovers(dependencies, work)
  await withRetry(() => dependencies.database.transaction((tx) => commitEnding(tx, work, left)))
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
      // Somebody drew a newer fence: our successor, or a neighbour on the route. The next round finds out under a fence of its own.
      if (isShiplockError(error, 'FENCED')) throw error
      dependencies.logger.warn('an undo failed', { deploymentId: work.deployment.id, stage: name, attempt, error })
      if (attempt === LIMITS.undoRetries) return
      await dependencies.clock.sleep(LIMITS.unknownOutcomeRetryMs * attempt)
    }
  }
}

/** Adopted instances go back to standby, to whom they were taken from; the deployment's own are gone. */
async function leftovers(dependencies: EngineDependencies, work: Work): Promise<Instance[]> {
  const { standbyMs = 0, temporaryShutdown = false } = work.deployment.facts.config?.deploy ?? {}
  const own = work.instances.map((instance): Instance => {
    if (!isAdopted(work, instance)) return { ...instance, state: 'removed' }
    const standbyUntil = new Date(dependencies.clock.now() + standbyMs).toISOString()
    return { ...instance, deploymentId: makerOf(instance.id), state: 'standby', standbyUntil }
  })
  return temporaryShutdown ? [...own, ...(await startedAgain(dependencies, work))] : own
}

/** What `temporaryShutdown` stopped runs again, maybe elsewhere. */
async function startedAgain(dependencies: EngineDependencies, work: Work): Promise<Instance[]> {
  const old = work.others.filter((instance) => instance.state === 'serving')
  return Promise.all(
    old.map(async (instance) => {
      const status = await dependencies.drivers.runtime.inspect(instance.id)
      return status.state === 'running' ? { ...instance, address: status.address } : instance
    }),
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
    hint: hintOf(error, tails),
    stage: work.deployment.stage,
    logTail: [...rest, ...redactLines(tails, work.redact)].slice(-LIMITS.errorLogTailLines),
    attempts: redactAll((details.attempts ?? []).slice(-LIMITS.probeAttemptsKept), work.redact),
  }
}

/** The hint of a code is the same for every failure; the last lines often say which one it is. */
function hintOf(error: ShiplockError, tail: readonly string[]): string {
  if (!START_CODES.has(error.code)) return error.hint
  const exitCode = /exit code (\d+)/.exec(error.message)?.[1]
  return startFailureHint({ exitCode: exitCode === undefined ? null : Number(exitCode), tail }) ?? error.hint
}
const START_CODES: ReadonlySet<string> = new Set(['LAUNCH_FAILED', 'NOT_READY', 'RELEASE_COMMAND_FAILED'])

async function lastLines(dependencies: EngineDependencies, work: Work): Promise<string[]> {
  const perInstance = await Promise.all(work.instances.map((instance) => logTailOf(dependencies, instance.id, LIMITS.errorLogTailLines)))
  return perInstance.flat()
}
