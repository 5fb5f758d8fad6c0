import fc from 'fast-check'
import { expect, test } from 'vitest'
import { LIMITS } from '../core/limits.ts'
import { LogPositions } from './log-positions.ts'

const many = Array.from({ length: 3 * LIMITS.logPositions }, (_, index) => `ins_${index}`)

test('I11: after hundreds of instances a reader that comes back is at its place in the newest', () => {
  const positions = new LogPositions()
  for (const [index, instance] of many.entries()) positions.set(instance, index + 1)
  const back = LogPositions.parse(`${positions}`)
  for (const [index, instance] of many.entries()) {
    expect(back.of(instance)).toBe(index < many.length - LIMITS.logPositions ? null : index + 1)
  }
})

test('I12: the id of a frame stays within what a request may carry', () => {
  const positions = new LogPositions()
  for (const instance of many) positions.set(`${instance}_${'x'.repeat(18)}`, 10 ** 12)
  expect(`${positions}`.length).toBeLessThan(12 * 1024)
})

test('an instance that goes on writing is not forgotten for those that ended', () => {
  const positions = new LogPositions()
  for (const [index, instance] of many.entries()) {
    positions.set('ins_alive', index)
    positions.set(instance, 1)
  }
  expect(positions.of('ins_alive')).toBe(many.length - 1)
})

test('what is gone for good is forgotten', () => {
  const positions = LogPositions.parse('ins_a=1;ins_b=2;ins_c=3')
  positions.keepOnly(new Set(['ins_b']))
  expect(`${positions}`).toBe('ins_b=2')
})

test('I9: whatever comes as an id is read or ignored', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 2000 }), (id) => {
      expect(`${LogPositions.parse(id)}`).toMatch(/^([A-Za-z0-9_-]{1,64}=\d{1,15}(;|$))*$/)
    }),
  )
  expect(LogPositions.parse(null).isEmpty).toBe(true)
  expect(`${LogPositions.parse(';=;a=;=1;a=b;a=-1;b=1')}`).toBe('b=1')
})
