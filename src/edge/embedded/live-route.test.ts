import fc from 'fast-check'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { InstanceId, ServiceEnvironmentId } from '../../domain/ids.ts'
import type { RouteRecord } from '../route-ledger.ts'
import { LiveRoute } from './live-route.ts'
import { type Flight, LiveTarget } from './live-target.ts'

const target = (name: string) => new LiveTarget({ instanceId: `ins_${name}` as InstanceId, host: '127.0.0.1', port: 1 }, 10)
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
const flight = (): Flight => ({ cut: () => {} })
const parked = () => ({ proceed: vi.fn(), refuse: vi.fn() })

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

test('choosing and claiming in turn never makes two targets differ by more than one', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 0, max: 40 }), (count, requests) => {
      const targets = Array.from({ length: count }, (_, index) => target(String(index)))
      const route = new LiveRoute(record(), targets)
      for (let request = 0; request < requests; request++) route.choose([])?.flights.add(flight())
      const loads = targets.map((each) => each.flights.size)
      expect(Math.max(...loads) - Math.min(...loads)).toBeLessThanOrEqual(1)
    }),
  )
})

test('idle targets take turns', () => {
  const targets = [target('a'), target('b'), target('c')]
  const route = new LiveRoute(record(), targets)
  const chosen = new Set(Array.from({ length: 3 }, () => route.choose([])))
  expect(chosen.size).toBe(3)
})

test('a target that was tried is not chosen again; without another there is none', () => {
  const [a, b] = [target('a'), target('b')]
  const route = new LiveRoute(record(), [a, b])
  expect(route.choose([a])).toBe(b)
  expect(route.choose([a, b])).toBeNull()
  expect(new LiveRoute(record(), []).choose([])).toBeNull()
})

test('a new generation starts new counters, for the route and its targets; a mere hold does not', () => {
  const only = target('a')
  const route = new LiveRoute(record(), [only])
  route.counters.requests = 5
  only.requests = 5
  route.replace(record({ held: true, holdUntil: Date.now() + 1000 }), [only])
  expect([route.counters.requests, only.requests]).toEqual([5, 5])
  route.replace(record({ generation: 2 }), [only])
  expect([route.counters.requests, only.requests]).toEqual([0, 0])
})

test('parked requests proceed when a hold ends, and are refused when it lasts too long', () => {
  const held = record({ held: true, holdUntil: Date.now() + 1000 })
  const route = new LiveRoute(held, [])
  const [early, late] = [parked(), parked()]
  route.park(early)
  route.replace(record(), [])
  route.settle()
  expect(early.proceed).toHaveBeenCalledOnce()
  route.replace({ ...held, holdUntil: Date.now() + 1000 }, [])
  route.park(late)
  vi.advanceTimersByTime(999)
  expect(late.refuse).not.toHaveBeenCalled()
  vi.advanceTimersByTime(1)
  expect(late.refuse).toHaveBeenCalledOnce()
  expect(route.isHoldOver).toBe(true)
  expect(route.parked).toBe(0)
})

test('a removed route lets its parked requests find that out', () => {
  const route = new LiveRoute(record({ held: true, holdUntil: Date.now() + 1000 }), [])
  const waiting = parked()
  route.park(waiting)
  route.retire()
  expect(waiting.proceed).toHaveBeenCalledOnce()
})

test('a target is quiet exactly when its last flight has landed', () => {
  const only = target('a')
  const [one, two] = [flight(), flight()]
  only.flights.add(one)
  only.flights.add(two)
  const quiet = vi.fn()
  only.onQuiet(quiet)
  only.land(one)
  only.land(one)
  expect(quiet).not.toHaveBeenCalled()
  only.land(two)
  expect(quiet).toHaveBeenCalledOnce()
  const already = vi.fn()
  only.onQuiet(already)
  expect(already).toHaveBeenCalledOnce()
})
