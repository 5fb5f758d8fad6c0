import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { LIMITS } from '../../core/limits.ts'
import type { InstanceId, ServiceEnvironmentId } from '../../domain/ids.ts'
import type { RouteRecord } from '../route-ledger.ts'
import type { Flight } from './live-target.ts'
import { Switchboard } from './switchboard.ts'

const ROUTE = 'sen_a' as ServiceEnvironmentId
const route = (generation: number, instances: readonly string[], change: Partial<RouteRecord> = {}): RouteRecord => ({
  id: ROUTE,
  hosts: ['a.localhost'],
  pathPrefix: '',
  targets: instances.map((name) => ({ instanceId: name as InstanceId, host: '127.0.0.1', port: 80 })),
  generation,
  fence: 1,
  held: false,
  holdUntil: null,
  replaced: [],
  ...change,
})

let board: Switchboard
beforeEach(() => {
  vi.useFakeTimers()
  board = new Switchboard(2)
  board.load({ version: 1, routes: [route(1, ['old'])] })
})
afterEach(() => {
  vi.useRealTimers()
})

/** Claims a target as an exchange does; `land` ends it, `cut` is told by a drain. */
function claim(): { readonly instance: string; readonly land: () => void; readonly cut: ReturnType<typeof vi.fn> } {
  const target = board.find('a.localhost', '/')?.choose([])
  if (target === null || target === undefined) throw new Error('nothing to claim')
  const cut = vi.fn()
  const flight: Flight = { cut }
  target.flights.add(flight)
  return { instance: target.target.instanceId, land: () => target.land(flight), cut }
}

function swap(version: number, record: RouteRecord | null) {
  board.prepare({ version, routeId: ROUTE, route: record })
  board.commit(version)
}

test('a prepared step changes nothing until it is committed, then everything in one tick', () => {
  board.prepare({ version: 2, routeId: ROUTE, route: route(2, ['new']) })
  expect(claim().instance).toBe('old')
  board.commit(2)
  expect(claim().instance).toBe('new')
  expect(board.version).toBe(2)
})

test('a step is taken only from the version right before it; a repeated commit is success', () => {
  expect(() => board.prepare({ version: 3, routeId: ROUTE, route: null })).toThrow(/can't prepare 3/)
  expect(() => board.commit(2)).toThrow(/was not prepared/)
  swap(2, route(2, ['new']))
  board.commit(2)
  expect(board.version).toBe(2)
})

test('a step that was prepared and never committed gives way to the next', () => {
  board.prepare({ version: 2, routeId: ROUTE, route: route(2, ['lost']) })
  swap(2, route(2, ['new']))
  expect(claim().instance).toBe('new')
})

test('I3: a drain resolves in the moment when the last claim of the old target lands', async () => {
  const [one, two] = [claim(), claim()]
  swap(2, route(2, ['new']))
  const done = vi.fn()
  const drain = board.drain(['old' as InstanceId], 10_000).then(done)
  one.land()
  await vi.advanceTimersByTimeAsync(5000)
  expect(done).not.toHaveBeenCalled()
  two.land()
  await drain
  expect(done).toHaveBeenCalledWith({ drained: 2, cut: 0 })
  expect(one.cut).not.toHaveBeenCalled()
})

test('at its deadline a drain cuts what is left, and only that', async () => {
  const [kept, ended] = [claim(), claim()]
  swap(2, route(2, ['new']))
  const other = claim()
  kept.cut.mockImplementation(() => kept.land())
  const drain = board.drain(['old' as InstanceId], 1000)
  ended.land()
  await vi.advanceTimersByTimeAsync(1000)
  expect(await drain).toEqual({ drained: 1, cut: 1 })
  expect(other.cut).not.toHaveBeenCalled()
})

test('a claim that can not be cut does not hold up a drain for ever', async () => {
  claim()
  swap(2, route(2, ['new']))
  const drain = board.drain(['old' as InstanceId], 100)
  await vi.advanceTimersByTimeAsync(100 + LIMITS.cutGraceMs * 2)
  expect(await drain).toEqual({ drained: 0, cut: 1 })
})

test('a target that stays from one generation to the next keeps what is in flight', () => {
  claim()
  swap(2, route(2, ['old', 'new']))
  expect(board.traffic(ROUTE)?.targets).toMatchObject([
    { instanceId: 'old', inFlight: 1 },
    { instanceId: 'new', inFlight: 0 },
  ])
})

test('a request parked in a hold finds the new targets when it proceeds', () => {
  swap(2, route(1, ['old'], { held: true, holdUntil: Date.now() + 10_000 }))
  let found: string | null = null
  board.find('a.localhost', '/')?.park({ proceed: () => (found = claim().instance), refuse: () => {} })
  expect(board.parked).toBe(1)
  swap(3, route(2, ['new']))
  expect(found).toBe('new')
  expect(board.parked).toBe(0)
})

test('a new snapshot replaces all: routes that it lacks are gone', () => {
  board.load({ version: 9, routes: [] })
  expect(board.find('a.localhost', '/')).toBeNull()
  expect(board.traffic(ROUTE)).toBeNull()
  expect(board.version).toBe(9)
})

test('I12: bounds are shared among the workers', () => {
  expect(board.parkedMax).toBe(LIMITS.heldRequests / 2)
})
