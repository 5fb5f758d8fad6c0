import { expect, test } from 'vitest'
import { LIMITS } from '../../core/limits.ts'
import { boundedData } from './events.ts'

test('I12: the facts of an event are bounded; what is left out is named', () => {
  const small = { stage: 'verify', logTail: ['a', 'b'] }
  expect(boundedData(small)).toBe(small)
  const large = { stage: 'verify', logTail: Array.from({ length: 40 }, () => 'é'.repeat(LIMITS.logLineBytes / 2)) }
  const bounded = boundedData(large)
  expect(bounded).toMatchObject({ leftOut: ['stage', 'logTail'] })
  expect(bounded.bytes).toBeGreaterThan(LIMITS.eventDataBytes)
  expect(JSON.stringify(bounded).length).toBeLessThan(LIMITS.eventDataBytes)
})
