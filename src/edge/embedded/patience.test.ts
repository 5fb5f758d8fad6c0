import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { LIMITS } from '../../core/limits.ts'
import type { ServiceEnvironmentId } from '../../domain/ids.ts'
import type { RouteRecord } from '../route-ledger.ts'
import { LiveRoute } from './live-route.ts'
import { Patience } from './patience.ts'
import type { Switchboard } from './switchboard.ts'

const record = (change: Partial<RouteRecord> = {}): RouteRecord => ({
  id: 'sen_a' as ServiceEnvironmentId,
  hosts: ['a'],
  pathPrefix: '',
  targets: [],
  generation: 1,
  fence: 1,
  held: false,
  holdUntil: null,
  replaced: [],
  ...change,
})
const board = (parked = 0) => ({ parked, parkedMax: 10 }) as Switchboard

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

function waiting(route: LiveRoute) {
  const parked = { proceed: vi.fn(() => patience.end()), refuse: vi.fn(() => patience.end()) }
  const patience = new Patience(parked)
  patience.begin()
  return { parked, patience, waits: patience.wait(board(), route) }
}

test('looks again with growing pauses, and no longer than a connection may take', () => {
  const route = new LiveRoute(record(), [])
  const { parked, patience } = waiting(route)
  let looks = 0
  do {
    vi.advanceTimersByTime(LIMITS.upstreamRetryMaxMs)
    looks += 1
    expect(parked.proceed).toHaveBeenCalledTimes(looks)
  } while (patience.wait(board(), route))
  expect(looks).toBeGreaterThan(8)
  expect(looks).toBeLessThan(20)
  expect(route.parked).toBe(0)
})

test('goes on at once when the route changes', () => {
  const route = new LiveRoute(record(), [])
  const { parked } = waiting(route)
  route.replace(record({ generation: 2 }), [])
  route.settle()
  expect(parked.proceed).toHaveBeenCalledTimes(1)
  vi.advanceTimersByTime(10_000)
  expect(parked.proceed).toHaveBeenCalledTimes(1)
})

test('joins a hold that begins meanwhile, and ends with it', () => {
  const route = new LiveRoute(record(), [])
  const { parked } = waiting(route)
  route.replace(record({ held: true, holdUntil: Date.now() + 60_000 }), [])
  route.settle()
  vi.advanceTimersByTime(20_000)
  expect(parked.proceed).not.toHaveBeenCalled()
  expect(route.parked).toBe(1)
  vi.advanceTimersByTime(60_000)
  expect(parked.refuse).toHaveBeenCalledTimes(1)
})

test('I12: no more wait than a hold has room for', () => {
  const route = new LiveRoute(record(), [])
  const patience = new Patience({ proceed: () => {}, refuse: () => {} })
  patience.begin()
  expect(patience.wait(board(10), route)).toBe(false)
  expect(route.parked).toBe(0)
})
