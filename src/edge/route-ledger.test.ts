import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isShiplockError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { InstanceId, ServiceEnvironmentId } from '../domain/ids.ts'
import type { SwapRequest, Target } from './edge.ts'
import {
  type Change,
  EMPTY_LEDGER,
  holdRoute,
  type Ledger,
  listRoutes,
  raiseFence,
  releaseRoute,
  removeRoute,
  swapRoute,
} from './route-ledger.ts'

const ROUTE = 'sen_a' as ServiceEnvironmentId
const target = (name: string, port = 8000): Target => ({ instanceId: `ins_${name}` as InstanceId, host: '127.0.0.1', port })
const swap = (change: Partial<SwapRequest> = {}): SwapRequest => ({
  routeId: ROUTE,
  hosts: ['a.localhost'],
  pathPrefix: '',
  targets: [target('one')],
  fence: 1,
  ifGeneration: null,
  ...change,
})

describe('one call', () => {
  test('a refused call leaves the ledger as it was', () => {
    const { ledger } = swapRoute(EMPTY_LEDGER, swap({ fence: 5 }))
    expect(() => swapRoute(ledger, swap({ fence: 4, targets: [] }))).toThrow(/fence 4 is older than 5/)
    expect(listRoutes(ledger)).toMatchObject([{ generation: 1, fence: 5 }])
  })

  test('the order of hosts and targets makes no new generation, a changed port does', () => {
    const both = [target('one'), target('two')]
    const { ledger } = swapRoute(EMPTY_LEDGER, swap({ targets: both }))
    expect(swapRoute(ledger, swap({ targets: [...both].reverse() })).ledger).toBe(ledger)
    expect(swapRoute(ledger, swap({ targets: [target('one', 9000), target('two')] })).result.generation).toBe(2)
  })

  test('a swap that was done and lost its reply is a success with its own ifGeneration', () => {
    const first = swapRoute(EMPTY_LEDGER, swap())
    const request = swap({ targets: [target('two')], ifGeneration: 1 })
    const second = swapRoute(first.ledger, request)
    expect(swapRoute(second.ledger, request).result).toEqual(second.result)
  })

  test('a hold is bounded whatever is asked for', () => {
    const { ledger } = swapRoute(EMPTY_LEDGER, swap())
    expect(holdRoute(ledger, ROUTE, 1, 1e12, 1000).ledger.routes.get(ROUTE)?.holdUntil).toBe(1000 + LIMITS.holdMaxMs)
    expect(holdRoute(ledger, ROUTE, 1, -5, 1000).ledger.routes.get(ROUTE)?.holdUntil).toBe(1000)
  })

  test('tombstones are bounded, the oldest go first', () => {
    const stones = Array.from({ length: LIMITS.edgeTombstones }, (_, count) => {
      const id = `sen_${count}` as ServiceEnvironmentId
      return [id, { id, fence: 1, generation: 1 }] as const
    })
    const { tombstones } = removeRoute({ ...EMPTY_LEDGER, tombstones: new Map(stones) }, ROUTE, 1).ledger
    expect(tombstones.size).toBe(LIMITS.edgeTombstones)
    expect(tombstones.has('sen_0' as ServiceEnvironmentId)).toBe(false)
    expect(tombstones.has(ROUTE)).toBe(true)
  })
})

type Op = (ledger: Ledger) => Change<unknown>
const ids = ['sen_a', 'sen_b', 'sen_c'] as ServiceEnvironmentId[]
const anyId = fc.constantFrom(...ids)
const anyFence = fc.integer({ min: 0, max: 6 })
const anyTargets = fc.uniqueArray(fc.constantFrom('one', 'two', 'three')).map((names) => names.map((name) => target(name)))
const anySwap = fc.record({
  routeId: anyId,
  hosts: fc.uniqueArray(fc.constantFrom('a.localhost', 'b.localhost'), { maxLength: 2 }),
  pathPrefix: fc.constantFrom('', '/api'),
  targets: anyTargets,
  fence: anyFence,
  ifGeneration: fc.option(fc.integer({ min: 0, max: 4 })),
})
const anyOp: fc.Arbitrary<Op> = fc.oneof(
  anySwap.map(
    (request): Op =>
      (ledger) =>
        swapRoute(ledger, request),
  ),
  fc.tuple(anyId, anyFence).map(
    ([id, fence]): Op =>
      (ledger) =>
        holdRoute(ledger, id, fence, 1000, 5),
  ),
  fc.tuple(anyId, anyFence).map(
    ([id, fence]): Op =>
      (ledger) =>
        releaseRoute(ledger, id, fence),
  ),
  fc.tuple(anyId, anyFence).map(
    ([id, fence]): Op =>
      (ledger) =>
        removeRoute(ledger, id, fence),
  ),
  fc.tuple(anyId, anyFence).map(
    ([id, fence]): Op =>
      (ledger) =>
        raiseFence(ledger, id, fence),
  ),
)

function attempt(op: Op, ledger: Ledger): Change<unknown> | null {
  try {
    return op(ledger)
  } catch (error) {
    if (isShiplockError(error, 'FENCED') || isShiplockError(error, 'CONFLICT') || isShiplockError(error, 'NOT_FOUND')) return null
    throw error
  }
}

const fenceOf = (ledger: Ledger, id: ServiceEnvironmentId) => ledger.routes.get(id)?.fence ?? ledger.tombstones.get(id)?.fence ?? 0
const generationOf = (ledger: Ledger, id: ServiceEnvironmentId) =>
  ledger.routes.get(id)?.generation ?? ledger.tombstones.get(id)?.generation ?? 0

test('I6: in any row of calls fences and generations never go back, and no host and prefix has two owners', () => {
  fc.assert(
    fc.property(fc.array(anyOp, { maxLength: 40 }), (ops) => {
      let ledger = EMPTY_LEDGER
      for (const op of ops) {
        const change = attempt(op, ledger)
        if (change === null) continue
        for (const id of ids) {
          expect(fenceOf(change.ledger, id)).toBeGreaterThanOrEqual(fenceOf(ledger, id))
          expect(generationOf(change.ledger, id) - generationOf(ledger, id)).toBeOneOf([0, 1])
        }
        expect(change.ledger.version - ledger.version).toBeOneOf([0, 1])
        expect(change.ledger.version === ledger.version).toBe(change.ledger === ledger)
        const owned = listRoutes(change.ledger).flatMap((route) => route.hosts.map((host) => `${host}${route.pathPrefix}`))
        expect(new Set(owned).size).toBe(owned.length)
        ledger = change.ledger
      }
    }),
  )
})

test('every call may be made twice: the second changes nothing and answers the same', () => {
  fc.assert(
    fc.property(fc.array(anyOp, { maxLength: 20 }), anyOp, (ops, last) => {
      const ledger = ops.reduce((known, op) => attempt(op, known)?.ledger ?? known, EMPTY_LEDGER)
      const once = attempt(last, ledger)
      if (once === null) return
      const twice = last(once.ledger)
      expect(twice.result).toEqual(once.result)
      expect(listRoutes(twice.ledger)).toEqual(listRoutes(once.ledger))
    }),
  )
})

test('a step never changes a route that it does not name', () => {
  fc.assert(
    fc.property(fc.array(anyOp, { maxLength: 20 }), anySwap, (ops, request) => {
      const ledger = ops.reduce((known, op) => attempt(op, known)?.ledger ?? known, EMPTY_LEDGER)
      const change = attempt((known) => swapRoute(known, request), ledger)
      for (const id of ids) if (id !== request.routeId) expect((change?.ledger ?? ledger).routes.get(id)).toBe(ledger.routes.get(id))
    }),
  )
})
