import { crashPoint } from '../core/crash-points.ts'
import { ShiplockError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { isPastNoReturn } from '../domain/deployment-machine.ts'
import { STAGE } from '../stages/pipeline.ts'
import { StageAbort, type StageOutcome } from '../stages/stage.ts'
import { withRetry } from '../store/retry.ts'
import { lockServiceEnvironment } from '../store/sql/catalog.ts'
import { assertOwned, type Lease, nextFence, readOwnLease } from '../store/sql/leases.ts'
import { afterFailure, type Run, type RunSignals, Tries } from './after-failure.ts'
import { commitStage } from './commit.ts'
import type { EngineDependencies } from './dependencies.ts'
import { endDeployment } from './end-deployment.ts'
import { LogWriter } from './log-writer.ts'
import { stageContext } from './stage-context.ts'
import { decideSwapBack, swapBack } from './swap-back.ts'
import { loadWork, type Work } from './work.ts'

/**
 * Carries one deployment from the stage it stands at to its end: run the stage, write down what came of it, go on.
 * Whoever holds the lease may call it at any point of a deployment's life, after any crash. Resolves when the deployment has settled.
 */
export async function runDeployment(dependencies: EngineDependencies, first: Lease, signals: RunSignals): Promise<void> {
  const run: Run = { dependencies, signals, tries: new Tries() }
  for (let lease: Lease | null = first; lease !== null; ) {
    const work = await reload(dependencies, lease, signals)
    const log = openLog(dependencies, work)
    try {
      lease = await step(dependencies, work, log, signals)
    } catch (error) {
      lease = await afterFailure(run, work, log, error)
    } finally {
      await log.flush()
    }
  }
}

/** One stage and the record of its outcome; or, when the end is decided, the way there. Null = settled. */
async function step(dependencies: EngineDependencies, work: Work, log: LogWriter, signals: RunSignals): Promise<Lease | null> {
  const { stage, verdict, cancelRequested } = work.deployment
  if (verdict !== null && !isPastSwap(work)) return endDeployment(dependencies, work, log)
  if (verdict !== null) return swapBack(dependencies, work, log)
  if (stage === 'swap') return swapUnderLock(dependencies, work, log, signals.letGo)
  const isTooLate = isPastNoReturn(stage)
  if (!isTooLate) {
    signals.giveUp.throwIfAborted()
    if (cancelRequested) throw new StageAbort('canceled')
  }
  const signal = isTooLate ? signals.letGo : AbortSignal.any([signals.letGo, signals.giveUp])
  const outcome = await runStage(work, stageContext(dependencies, work, log, signal))
  signals.letGo.throwIfAborted()
  if (outcome.kind === 'trouble') return decideSwapBack(dependencies, work, log, outcome.reason)
  return commit(dependencies, work, outcome)
}

function runStage(work: Work, context: ReturnType<typeof stageContext>): Promise<StageOutcome> {
  if (work.deployment.stage === null) throw new Error(`${work.deployment.id} is in no stage`)
  return STAGE[work.deployment.stage].run(context)
}

/**
 * Edge call and commit inside one transaction that holds the route's row lock: no other deployment, swap-back or health monitor can
 * change the route between the two, and the fence drawn under the lock is larger than any drawn before it.
 */
async function swapUnderLock(dependencies: EngineDependencies, work: Work, log: LogWriter, signal: AbortSignal): Promise<Lease | null> {
  const lease = await dependencies.database.transaction(async (tx) => {
    await lockServiceEnvironment(tx, work.target.id)
    // Before the edge hears of it: a worker that was paused on the way here must not draw a fence newer than its successor's (I6).
    await assertOwned(tx, work.lease)
    const fence = await nextFence(tx)
    const fresh = await loadWork(dependencies, tx, work.lease)
    const outcome = await runStage(fresh, stageContext(dependencies, fresh, log, signal, fence))
    return commitStage(dependencies, tx, fresh, outcome)
  })
  crashPoint('swap.recorded')
  return lease
}

function commit(dependencies: EngineDependencies, work: Work, outcome: StageOutcome): Promise<Lease | null> {
  return dependencies.database.transaction((tx) => commitStage(dependencies, tx, work, outcome))
}

function isPastSwap(work: Work): boolean {
  const { stage } = work.deployment
  return isPastNoReturn(stage) && stage !== 'swap'
}

/** The lease as it stands now, and all that belongs to it. Rejects with FENCED when it is no longer ours. */
function reload(dependencies: EngineDependencies, lease: Lease, signals: RunSignals): Promise<Work> {
  // A transaction only so that all of it comes over one connection, in few round trips.
  const load = () =>
    dependencies.database.transaction(async (tx) => {
      const present = await readOwnLease(tx, lease.deploymentId, dependencies.owner)
      if (present === null) throw new ShiplockError('FENCED', `another worker owns ${lease.deploymentId}, or it has settled`)
      return loadWork(dependencies, tx, present)
    })
  return withRetry(load, { signal: signals.letGo, isIdempotent: true, giveUpAfterMs: LIMITS.databaseOutageMs })
}

function openLog(dependencies: EngineDependencies, work: Work): LogWriter {
  const { database, owner, clock, logger } = dependencies
  return new LogWriter({ database, deploymentId: work.deployment.id, owner, clock, logger }, work.redact)
}
