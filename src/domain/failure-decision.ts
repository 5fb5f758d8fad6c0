import { isPastNoReturn, type StageName } from './deployment-machine.ts'

/** What is known of a failure when it must be decided what it means. */
export interface StageFailure {
  /** The stage in which it happened; null = none had begun. */
  readonly stage: StageName | null
  /** Why the stage was told to end, where it was: `fenced` = a driver saw a newer fence. null = it failed of itself. */
  readonly cause: 'canceled' | 'timeout' | 'fenced' | 'shutdown' | null
  /** The database went away: nobody knows whether the last write happened. */
  readonly isDatabaseAway: boolean
  /** Trying again may help (`actor: 'retry'` in the table of errors). */
  readonly isRetryable: boolean
  /** That it ends is decided already: what failed is the way there. */
  readonly isEnding: boolean
  /** It serves, or did until now. */
  readonly isRunning: boolean
  /** How often this kind of failure was met with another try in this run. */
  readonly tries: number
  readonly maxTries: number
}

/**
 * - `look-again`: load what is true now and go on from there
 * - `draw-fence`: the lease may still be ours; take a newer fence and repeat
 * - `ask-edge`: nobody knows whether the swap happened; `look-again` if it may have, otherwise decide with `swapDidNotHappen`
 * - `try-again`: after a pause
 * - `let-go`: this worker gives the deployment up; whoever takes it over goes on
 * - `abandon-swap-back`: what replaced it can't be brought back; it stays as it is
 * - `warn`: past the point of no return; noted, and the next stage begins
 * - `cancel`, `fail`: the deployment ends, what is live stays
 */
export type FailureDecision =
  | 'look-again'
  | 'draw-fence'
  | 'ask-edge'
  | 'try-again'
  | 'let-go'
  | 'abandon-swap-back'
  | 'warn'
  | 'cancel'
  | 'fail'

/** What a failure means depends on where it happened: before the swap it may end the deployment, after it nothing but a bake may. */
export function decideFailure(failure: StageFailure): FailureDecision {
  if (failure.isDatabaseAway) return 'look-again'
  if (failure.cause === 'fenced') return failure.tries < failure.maxTries ? 'draw-fence' : 'let-go'
  if (failure.stage === 'swap' && !failure.isEnding) return 'ask-edge'
  return swapDidNotHappen(failure)
}

/** As `decideFailure`, where it is certain that the edge does not have the new targets, or has had them for long. */
export function swapDidNotHappen(failure: StageFailure): FailureDecision {
  const isPastSwap = isPastNoReturn(failure.stage) && failure.stage !== 'swap'
  if (isPastSwap && failure.isRetryable && failure.tries < failure.maxTries) return 'try-again'
  if (failure.isEnding) return failure.isRunning && !failure.isRetryable ? 'abandon-swap-back' : 'let-go'
  if (isPastSwap) return 'warn'
  return failure.cause === 'canceled' ? 'cancel' : 'fail'
}
