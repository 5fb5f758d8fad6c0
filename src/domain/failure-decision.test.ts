import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isPastNoReturn, STAGES } from './deployment-machine.ts'
import { decideFailure, type StageFailure, swapDidNotHappen } from './failure-decision.ts'

const OWN: StageFailure = {
  stage: 'build',
  cause: null,
  isDatabaseAway: false,
  isRetryable: false,
  isEnding: false,
  isRunning: false,
  tries: 0,
  maxTries: 3,
}

describe('what a failure means', () => {
  test.each<[string, Partial<StageFailure>, string]>([
    ['a build that fails', {}, 'fail'],
    ['a stage that is told to end by a cancel', { cause: 'canceled' }, 'cancel'],
    ['a stage whose time is over', { cause: 'timeout' }, 'fail'],
    ['a registry that answers 503 before the swap: the drivers have tried long enough', { stage: 'publish', isRetryable: true }, 'fail'],
    ['a database that goes away', { isDatabaseAway: true }, 'look-again'],
    ['a database that goes away during the swap', { stage: 'swap', isDatabaseAway: true }, 'look-again'],
    ['a newer fence', { cause: 'fenced' }, 'draw-fence'],
    ['a newer fence, once too often', { cause: 'fenced', tries: 3 }, 'let-go'],
    ['a newer fence past the swap', { stage: 'bake', cause: 'fenced' }, 'draw-fence'],
    ['an edge that does not answer the swap', { stage: 'swap', isRetryable: true }, 'ask-edge'],
    ['a cancel that meets the swap', { stage: 'swap', cause: 'canceled' }, 'ask-edge'],
    ['a drain that fails and may succeed', { stage: 'drain', isRunning: true, isRetryable: true }, 'try-again'],
    ['a drain that failed too often', { stage: 'drain', isRunning: true, isRetryable: true, tries: 3 }, 'warn'],
    ['a retire that fails for good', { stage: 'retire', isRunning: true }, 'warn'],
    ['an undo that fails', { isEnding: true }, 'let-go'],
    ['an undo that fails and may succeed', { isEnding: true, isRetryable: true }, 'let-go'],
    ['a swap back that may succeed', { stage: 'bake', isEnding: true, isRunning: true, isRetryable: true }, 'try-again'],
    [
      'a swap back that may succeed, once too often',
      { stage: 'bake', isEnding: true, isRunning: true, isRetryable: true, tries: 3 },
      'let-go',
    ],
    ['a swap back that can’t succeed', { stage: 'bake', isEnding: true, isRunning: true }, 'abandon-swap-back'],
  ])('%s', (_, failure, expected) => {
    expect(decideFailure({ ...OWN, ...failure })).toBe(expected)
  })

  test.each<[string, Partial<StageFailure>, string]>([
    ['a swap that the edge refused', {}, 'fail'],
    ['a swap that was canceled before the edge heard of it', { cause: 'canceled' }, 'cancel'],
  ])('%s, once the edge was asked', (_, failure, expected) => {
    expect(swapDidNotHappen({ ...OWN, stage: 'swap', ...failure })).toBe(expected)
  })
})

const failures: fc.Arbitrary<StageFailure> = fc.record({
  stage: fc.constantFrom(null, ...STAGES),
  cause: fc.constantFrom('canceled', 'timeout', 'fenced', 'shutdown', null),
  isDatabaseAway: fc.boolean(),
  isRetryable: fc.boolean(),
  isEnding: fc.boolean(),
  isRunning: fc.boolean(),
  tries: fc.nat(5),
  maxTries: fc.constant(3),
})

test('I1: past the point of no return nothing fails or cancels a deployment, whatever goes wrong', () => {
  fc.assert(
    fc.property(failures, (failure) => {
      if (!isPastNoReturn(failure.stage) || failure.stage === 'swap') return
      expect(['fail', 'cancel', 'ask-edge']).not.toContain(decideFailure(failure))
    }),
  )
})

test('I12: no failure is met with the same try for ever, but for a database that is away', () => {
  fc.assert(
    fc.property(failures, (failure) => {
      if (failure.isDatabaseAway) return
      expect(['try-again', 'draw-fence']).not.toContain(decideFailure({ ...failure, tries: failure.maxTries }))
    }),
  )
})

test('I1: a deployment ends before the swap only, and only where its end is not decided yet', () => {
  fc.assert(
    fc.property(failures, (failure) => {
      const decision = decideFailure(failure)
      if (decision !== 'fail' && decision !== 'cancel') return
      expect(failure.isEnding).toBe(false)
      expect(failure.stage === null || !isPastNoReturn(failure.stage)).toBe(true)
    }),
  )
})
