import { crashPoint } from '../core/crash-points.ts'
import { ShiplockError, toShiplockError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { isPastNoReturn } from '../domain/deployment-machine.ts'
import { STAGE } from '../stages/pipeline.ts'
import { StageAbort, type StageOutcome } from '../stages/stage.ts'
import { isTransient } from '../store/database.ts'
import { withRetry } from '../store/retry.ts'
import { lockServiceEnvironment } from '../store/sql/catalog.ts'
import { assertOwned, type Lease, nextFence, readOwnLease, takeLease } from '../store/sql/leases.ts'
import { commitStage } from './commit.ts'
import type { EngineDependencies } from './dependencies.ts'
import { decideEnd, endDeployment } from './end-deployment.ts'
import { LogWriter } from './log-writer.ts'
import { stageContext } from './stage-context.ts'
import { abandonSwapBack, decideSwapBack, swapBack } from './swap-back.ts'
import { loadWork, type Work } from './work.ts'

/** `letGo`: this worker must stop at once (server stop, lost lease). `giveUp`: the deployment must end (cancel, time-out); void from the swap on. */
export interface RunSignals {
  readonly letGo: AbortSignal
  readonly giveUp: AbortSignal
}

/**
 * Carries one deployment from the stage it stands at to its end: run the stage, write down what came of it, go on.
 * Whoever holds the lease may call it at any point of a deployment's life, after any crash. Resolves when the deployment has settled.
 */
export async function runDeployment(dependencies: EngineDependencies, first: Lease, signals: RunSignals): Promise<void> {
  const troubles = new Troubles()
  for (let lease: Lease | null = first; lease !== null; ) {
    const work = await reload(dependencies, lease, signals)
    const log = openLog(dependencies, work)
    try {
      lease = await step(dependencies, work, log, signals)
    } catch (error) {
      lease = await afterFailure(dependencies, work, log, error, signals, troubles)
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

/** What a failure means depends on where it happened. Rethrows when this worker has to let go. */
async function afterFailure(
  dependencies: EngineDependencies,
  work: Work,
  log: LogWriter,
  error: unknown,
  signals: RunSignals,
  troubles: Troubles,
): Promise<Lease | null> {
  const { deployment } = work
  const { logger, clock } = dependencies
  const facts = { deploymentId: deployment.id, stage: deployment.stage, error: error as Error }
  signals.letGo.throwIfAborted()
  // The next round loads what is true now: whether a commit with a lost reply happened shows there.
  if (isTransient(error)) {
    logger.warn('the database went away during a stage', facts)
    return work.lease
  }
  // Cancel and time-out are void from the swap on: what fails there failed of itself.
  const why = abortCause(error, isPastNoReturn(deployment.stage) ? null : signals.giveUp)
  if (why === 'fenced') return fencedAgain(dependencies, work, error, troubles)
  const failure = why === 'timeout' ? timeoutError(dependencies, work) : toShiplockError(error)
  if (failure.code === 'INTERNAL' && why === null) logger.error('a stage failed unexpectedly', { ...facts, stack: (error as Error).stack })
  const isUnknown = deployment.stage === 'swap' && deployment.verdict === null && (await mayHaveSwapped(dependencies, work, failure))
  if (isUnknown || (isPastSwap(work) && troubles.mayRetry(`${deployment.stage}`, failure))) {
    logger.warn('trying again', facts)
    await clock.sleep(LIMITS.unknownOutcomeRetryMs, signals.letGo)
    return work.lease
  }
  if (deployment.verdict !== null && deployment.status === 'running' && failure.info.actor !== 'retry') {
    return abandonSwapBack(dependencies, work, failure)
  }
  if (deployment.verdict !== null) throw error
  if (isPastSwap(work)) return goOnWithWarning(dependencies, work, failure)
  if (why === 'canceled') return decideEnd(dependencies, work, { verdict: 'canceled', error: null })
  log.write('engine', `${deployment.stage} failed: ${failure.message}`, null)
  return decideEnd(dependencies, work, { verdict: 'failed', error: failure })
}

function abortCause(error: unknown, giveUp: AbortSignal | null): StageAbort['why'] | null {
  if (error instanceof StageAbort) return error.why
  if (error instanceof ShiplockError && error.code === 'FENCED') return 'fenced'
  return giveUp?.reason instanceof StageAbort ? giveUp.reason.why : null
}

/** A driver saw a newer fence. If the lease is still ours, that was the health monitor or our own earlier call: draw a newer one and repeat. */
async function fencedAgain(dependencies: EngineDependencies, work: Work, error: unknown, troubles: Troubles): Promise<Lease> {
  if (!troubles.mayRetry('fenced', error)) throw error
  return dependencies.database.transaction(async (tx) => {
    const lease = await readOwnLease(tx, work.deployment.id, dependencies.owner)
    if (lease === null) throw error
    return { deploymentId: lease.deploymentId, fence: await takeLease(tx, lease.deploymentId, dependencies.owner) }
  })
}

function timeoutError(dependencies: EngineDependencies, work: Work): ShiplockError {
  const seconds = dependencies.buildTimeoutMs / 1000
  const bound = seconds >= 60 ? `${Math.round(seconds / 6) / 10} min` : `${seconds} s`
  return new ShiplockError('DEPLOYMENT_TIMEOUT', `${work.deployment.stage} was still at work when BUILD_TIMEOUT (${bound}) was over`)
}

/** True when the edge has, or may have, the new targets: then there is no way back, only a look at what it did. */
async function mayHaveSwapped(dependencies: EngineDependencies, work: Work, failure: ShiplockError): Promise<boolean> {
  if (failure.code === 'EDGE_UNAVAILABLE') return true
  try {
    const route = (await dependencies.drivers.edge.read()).find((known) => known.id === work.target.id)
    const own = new Set(work.instances.map((instance) => instance.id))
    return route?.targets.some((target) => own.has(target.instanceId)) ?? false
  } catch {
    return true
  }
}

function isPastSwap(work: Work): boolean {
  const { stage } = work.deployment
  return isPastNoReturn(stage) && stage !== 'swap'
}

/** After the swap nothing but a failed bake may fail a deployment: what goes wrong is recorded as a warning and the next stage begins. */
async function goOnWithWarning(dependencies: EngineDependencies, work: Work, failure: ShiplockError): Promise<Lease | null> {
  const warning = `${work.deployment.stage}: ${failure.message}`
  dependencies.logger.warn('a stage after the swap failed', { deploymentId: work.deployment.id, error: failure })
  return commit(dependencies, work, { kind: 'done', reason: warning, facts: { warnings: [warning] } })
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

/** Bounds how often one kind of trouble is met with another try, within one run of a deployment (I12). */
class Troubles {
  readonly #counts = new Map<string, number>()

  mayRetry(kind: string, error: unknown): boolean {
    const count = (this.#counts.get(kind) ?? 0) + 1
    this.#counts.set(kind, count)
    return count <= LIMITS.stageRetries && (kind === 'fenced' || toShiplockError(error).info.actor === 'retry')
  }
}
