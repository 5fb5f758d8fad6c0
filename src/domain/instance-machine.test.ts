import { expect, test } from 'vitest'
import { canMoveInstance, INSTANCE_NEXT, INSTANCE_STATES, type InstanceState } from './instance-machine.ts'

test('an instance may stay where it is, go where the table says, and nowhere else', () => {
  for (const from of INSTANCE_STATES) {
    for (const to of INSTANCE_STATES) {
      expect(canMoveInstance(from, to)).toBe(from === to || (INSTANCE_NEXT[from] as readonly InstanceState[]).includes(to))
    }
  }
})

test('I2: nothing begins to serve but what was ready, or is swapped back to while warm or woken from standby', () => {
  const before = INSTANCE_STATES.filter((from) => from !== 'serving' && canMoveInstance(from, 'serving'))
  expect(before).toEqual(['ready', 'warm', 'standby'])
})

test('what is removed stays removed, and everything can be removed', () => {
  for (const state of INSTANCE_STATES) {
    expect(canMoveInstance(state, 'removed')).toBe(true)
    if (state !== 'removed') expect(canMoveInstance('removed', state)).toBe(false)
  }
})
