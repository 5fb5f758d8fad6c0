import { expect, test } from 'vitest'
import type { InstanceId, ServiceEnvironmentId } from '../../domain/ids.ts'
import { Losses } from './losses.ts'

const ROUTE = 'sen_a' as ServiceEnvironmentId
const OLD = 'ins_old' as InstanceId
const NEW = 'ins_new' as InstanceId
const counted = (generation: number, requests: number, failures = 0) => ({
  id: ROUTE,
  traffic: { generation, requests, serverErrors: 0, failures, longestStallMs: requests, targets: [] },
})

test('counters of workers that are gone add up within a generation, and a later one begins anew', () => {
  const losses = new Losses()
  expect(losses.traffic(ROUTE)).toBe(null)
  losses.note({ routes: [counted(1, 10, 1)], inFlight: [] }, 0)
  losses.note({ routes: [counted(1, 5)], inFlight: [] }, 0)
  expect(losses.traffic(ROUTE)).toMatchObject({ generation: 1, requests: 15, failures: 1, longestStallMs: 10 })
  losses.note({ routes: [counted(2, 3)], inFlight: [] }, 0)
  losses.note({ routes: [counted(1, 100)], inFlight: [] }, 0)
  expect(losses.traffic(ROUTE)).toMatchObject({ generation: 2, requests: 3 })
  losses.forget(ROUTE)
  expect(losses.traffic(ROUTE)).toBe(null)
})

test('what was in flight counts for those instances, from then on', () => {
  const losses = new Losses()
  losses.note({ routes: [], inFlight: [[OLD, 3]] }, 10)
  losses.note(
    {
      routes: [],
      inFlight: [
        [OLD, 4],
        [NEW, 5],
      ],
    },
    20,
  )
  expect(losses.flights([OLD], 0)).toBe(7)
  expect(losses.flights([OLD], 15)).toBe(4)
  expect(losses.flights([NEW], 0)).toBe(5)
  expect(losses.flights([], 0)).toBe(0)
})
