import { expect, test } from 'vitest'
import { LIMITS } from '../core/limits.ts'
import { INSTANCES_MAX, ScaleService } from './service.ts'

test('the bound of instances is the one of the limits', () => {
  expect(INSTANCES_MAX).toBe(LIMITS.instances)
})

test.each([0, -1, 1.5, INSTANCES_MAX + 1, '2', undefined])('%j is no number of instances', (instances) => {
  expect(ScaleService.safeParse({ instances }).success).toBe(false)
})

test.each([1, INSTANCES_MAX, null])('%j is one', (instances) => {
  expect(ScaleService.safeParse({ instances }).success).toBe(true)
})
