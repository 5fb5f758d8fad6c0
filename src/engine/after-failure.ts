import { ShiplockError, toShiplockError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { isPastNoReturn, type StageName } from '../domain/deployment-machine.ts'
import { decideFailure, type FailureDecision, type StageFailure, swapDidNotHappen } from '../domain/failure-decision.ts'
import { StageAbort } from '../stages/stage.ts'
import { isTransient } from '../store/database.ts'
import { type Lease, readOwnLease, takeLease } from '../store/sql/leases.ts'
import { commitStage } from './commit.ts'
import type { EngineDependencies } from './dependencies.ts'
import { decideEnd } from './end-deployment.ts'
import type { LogWriter } from './log-writer.ts'
import { abandonSwapBack } from './swap-back.ts'
import type { Work } from './work.ts'

/** `letGo`: this worker must stop at once (server stop, lost lease). `giveUp`: the deployment must end (cancel, time-out); void from the swap on. */
export interface RunSignals {
  readonly letGo: AbortSignal
  readonly giveUp: AbortSignal
}

/** What one call of `runDeployment` works with and remembers. */
export interface Run {
  readonly dependencies: EngineDependencies
  readonly signals: RunSignals
  readonly tries: Tries
}

/** How often one kind of failure was met with another try, within one run of a deployment (I12). */
export class Tries {
  readonly #counts = new Map<string, number>()

  of(kind: string): number {
    return this.#counts.get(kind) ?? 0
  }

  add(kind: string): void {
    this.#counts.set(kind, this.of(kind) + 1)
  }
}

/** Finds out what is known of a failure, lets `decideFailure` say what it means, and does that. Rethrows when this worker has to let go. */
export async function afterFailure(run: Run, work: Work, log: LogWriter, error: unknown): Promise<Lease | null> {
  const { dependencies, signals } = run
  signals.letGo.throwIfAborted()
  const { failure, error: known } = describeFailure(run, work, error)
  let decision = decideFailure(failure)
  if (decision === 'ask-edge') decision = (await mayHaveSwapped(dependencies, work, known)) ? 'try-again' : swapDidNotHappen(failure)
  report(run, work, { decision, cause: failure.cause }, error)
  if (decision === 'try-again' || decision === 'draw-fence') run.tries.add(kindOf(failure))
  switch (decision) {
    case 'look-again':
      return work.lease
    case 'draw-fence':
      return drawFence(dependencies, work, error)
    case 'try-again':
      await dependencies.clock.sleep(LIMITS.unknownOutcomeRetryMs, signals.letGo)
      return work.lease
    case 'let-go':
      throw error
    case 'abandon-swap-back':
      return abandonSwapBack(dependencies, work, known)
    case 'warn':
      return goOnWithWarning(dependencies, work, known)
    case 'cancel':
      return decideEnd(dependencies, work, { verdict: 'canceled', error: null })
    default:
      log.write('engine', `${work.deployment.stage} failed: ${known.message}`, null)
      return decideEnd(dependencies, work, { verdict: 'failed', error: known })
  }
}

function describeFailure(run: Run, { deployment }: Work, error: unknown): { failure: StageFailure; error: ShiplockError } {
  const { stage, status, verdict } = deployment
  // Cancel and time-out are void from the swap on: what fails there failed of itself.
  const cause = abortCause(error, isPastNoReturn(stage) ? null : run.signals.giveUp)
  const known = cause === 'timeout' ? timeoutError(run.dependencies, stage) : toShiplockError(error)
  const failure = {
    stage,
    cause,
    isDatabaseAway: isTransient(error),
    isRetryable: known.info.actor === 'retry',
    isEnding: verdict !== null,
    isRunning: status === 'running',
    maxTries: LIMITS.stageRetries,
  }
  return { failure: { ...failure, tries: run.tries.of(kindOf(failure)) }, error: known }
}

function kindOf({ cause, stage }: Pick<StageFailure, 'cause' | 'stage'>): string {
  return cause === 'fenced' ? 'fenced' : `${stage}`
}

interface Decided {
  readonly decision: FailureDecision
  readonly cause: StageFailure['cause']
}

/** The server's own log; the deployment's log and events have what its people are told. */
function report({ dependencies: { logger } }: Run, { deployment }: Work, { decision, cause }: Decided, error: unknown): void {
  const facts = { deploymentId: deployment.id, stage: deployment.stage, error: error as Error }
  if (decision === 'look-again') {
    logger.warn('the database went away during a stage', facts)
    return
  }
  if (toShiplockError(error).code === 'INTERNAL' && cause === null) {
    logger.error('a stage failed unexpectedly', { ...facts, stack: (error as Error).stack })
  }
  if (decision === 'try-again') logger.warn('trying again', facts)
}

function abortCause(error: unknown, giveUp: AbortSignal | null): StageAbort['why'] | null {
  if (error instanceof StageAbort) return error.why
  if (error instanceof ShiplockError && error.code === 'FENCED') return 'fenced'
  return giveUp?.reason instanceof StageAbort ? giveUp.reason.why : null
}

/** A driver saw a newer fence. If the lease is still ours, that was the health monitor or our own earlier call: draw a newer one. */
async function drawFence(dependencies: EngineDependencies, work: Work, error: unknown): Promise<Lease> {
  return dependencies.database.transaction(async (tx) => {
    const lease = await readOwnLease(tx, work.deployment.id, dependencies.owner)
    if (lease === null) throw error
    return { deploymentId: lease.deploymentId, fence: await takeLease(tx, lease.deploymentId, dependencies.owner) }
  })
}

function timeoutError(dependencies: EngineDependencies, stage: StageName | null): ShiplockError {
  const seconds = dependencies.buildTimeoutMs / 1000
  const bound = seconds >= 60 ? `${Math.round(seconds / 6) / 10} min` : `${seconds} s`
  return new ShiplockError('DEPLOYMENT_TIMEOUT', `${stage} was still at work when BUILD_TIMEOUT (${bound}) was over`)
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

/** After the swap nothing but a failed bake may fail a deployment: what goes wrong is recorded as a warning and the next stage begins. */
async function goOnWithWarning(dependencies: EngineDependencies, work: Work, failure: ShiplockError): Promise<Lease | null> {
  const warning = `${work.deployment.stage}: ${failure.message}`
  dependencies.logger.warn('a stage after the swap failed', { deploymentId: work.deployment.id, error: failure })
  const outcome = { kind: 'done', reason: warning, facts: { warnings: [warning] } } as const
  return dependencies.database.transaction((tx) => commitStage(dependencies, tx, work, outcome))
}
