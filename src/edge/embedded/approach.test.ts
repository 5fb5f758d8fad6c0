import { beforeEach, expect, type Mock, test, vi } from 'vitest'
import type { InstanceId, ServiceEnvironmentId } from '../../domain/ids.ts'
import type { RouteRecord } from '../route-ledger.ts'
import { Approach, type Traveller } from './approach.ts'
import { LiveRoute, type RouteWatcher } from './live-route.ts'
import { LiveTarget } from './live-target.ts'
import type { UpstreamConnection } from './upstream-connection.ts'

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

/** A target whose connections do only what the test says. */
class SlowTarget extends LiveTarget {
  readonly connections: (UpstreamConnection & { readonly destroy: ReturnType<typeof vi.fn> })[] = []

  constructor(name: string) {
    super({ instanceId: `ins_${name}` as InstanceId, host: '127.0.0.1', port: 1 }, 10)
  }

  override open(): UpstreamConnection {
    const connection = { watch: vi.fn(), destroy: vi.fn() } as unknown as SlowTarget['connections'][number]
    this.connections.push(connection)
    return connection
  }

  get last(): SlowTarget['connections'][number] {
    const connection = this.connections.at(-1)
    if (connection === undefined) throw new Error('nobody connects')
    return connection
  }
}

let a: SlowTarget
let b: SlowTarget
let c: SlowTarget
let route: LiveRoute | null
let traveller: Traveller & { arrived: Mock<Traveller['arrived']>; stranded: Mock<() => void> }
let attempts: number
const watchers = new Set<RouteWatcher>()

beforeEach(() => {
  ;[a, b, c] = [new SlowTarget('a'), new SlowTarget('b'), new SlowTarget('c')]
  route = new LiveRoute(record(), [a, b])
  attempts = 0
  const tried: LiveTarget[] = []
  watchers.clear()
  traveller = {
    cut: () => {},
    findRoute: () => route,
    claimOn: (on, besides, isAfresh) => {
      attempts = isAfresh ? 1 : attempts + 1
      const claim = on.choose([...tried, ...besides])
      claim?.claim(traveller, true)
      return claim
    },
    passOver: (target) => tried.push(target),
    arrived: vi.fn(),
    stranded: vi.fn(),
  }
})

function begin(): Approach {
  a.claim(traveller, true)
  return new Approach(watchers, traveller, a)
}
const claims = () => [a, b, c].map((target) => target.flights.size)
const change = (targets: readonly LiveTarget[], what: Partial<RouteRecord> = {}) => {
  route?.replace(record({ generation: 2, ...what }), targets)
  for (const watcher of watchers) watcher.routeChanged()
}

test('the one that accepts gets the claim; nobody watches any longer', () => {
  begin().connected(a.last)
  expect(traveller.arrived).toHaveBeenCalledExactlyOnceWith(a, a.last)
  expect(a.last.destroy).not.toHaveBeenCalled()
  expect(claims()).toEqual([1, 0, 0])
  expect(watchers.size).toBe(0)
})

test('after the patience a second target is claimed too; the loser is closed and its claim lands', () => {
  const approach = begin()
  approach.slow()
  expect(claims()).toEqual([1, 1, 0])
  approach.connected(b.last)
  expect(traveller.arrived).toHaveBeenCalledExactlyOnceWith(b, b.last)
  expect(a.last.destroy).toHaveBeenCalledOnce()
  expect(claims()).toEqual([0, 1, 0])
  approach.connected(a.last)
  expect(traveller.arrived).toHaveBeenCalledOnce()
})

test('without another target the first is waited for', () => {
  route = new LiveRoute(record(), [a])
  const approach = begin()
  approach.slow()
  expect(claims()).toEqual([1, 0, 0])
  expect(a.connections).toHaveLength(1)
  approach.failed(a.last)
  expect(traveller.stranded).toHaveBeenCalledOnce()
  expect(claims()).toEqual([0, 0, 0])
})

test('a rival that refuses gives way to the next, and the first still may win', () => {
  route = new LiveRoute(record(), [a, b, c])
  const approach = begin()
  approach.slow()
  const [rival, third] = b.connections.length > 0 ? [b, c] : [c, b]
  approach.failed(rival.last)
  expect(rival.flights.size).toBe(0)
  expect(third.flights.size).toBe(1)
  approach.connected(a.last)
  expect(traveller.arrived).toHaveBeenCalledExactlyOnceWith(a, a.last)
  expect(claims()).toEqual([1, 0, 0])
})

test('I3: a target that leaves the route is given up in the same tick, and another is claimed', () => {
  const approach = begin()
  approach.slow()
  const quiet = vi.fn()
  a.onQuiet(() => quiet(a.last.destroy.mock.calls.length))
  change([c])
  // Closed before the drain learns that nothing is in flight.
  expect(quiet).toHaveBeenCalledExactlyOnceWith(1)
  expect(claims()).toEqual([0, 0, 1])
  expect(attempts).toBe(1)
  approach.connected(c.last)
  expect(traveller.arrived).toHaveBeenCalledExactlyOnceWith(c, c.last)
})

test('a change that keeps one of those under way drops only the other, and tries what is new beside it', () => {
  const approach = begin()
  approach.slow()
  change([b, c])
  expect(claims()).toEqual([0, 1, 1])
  expect(b.connections).toHaveLength(1)
})

test('a change that keeps the target changes nothing', () => {
  begin()
  change([a, c])
  expect(claims()).toEqual([1, 0, 0])
  expect(a.last.destroy).not.toHaveBeenCalled()
})

test('with nowhere else to go the target that left is waited for; once there is another, that one is claimed', () => {
  const approach = begin()
  change([])
  expect(claims()).toEqual([1, 0, 0])
  route = null
  approach.routeChanged()
  expect(claims()).toEqual([1, 0, 0])
  route = new LiveRoute(record(), [b])
  approach.routeChanged()
  expect(claims()).toEqual([0, 1, 0])
})

test('a hold without its target strands it, so that it waits with the others', () => {
  begin()
  change([], { held: true, holdUntil: Date.now() + 1000 })
  expect(traveller.stranded).toHaveBeenCalledOnce()
  expect(claims()).toEqual([0, 0, 0])
  expect(watchers.size).toBe(0)
  change([b])
})

test('canceling leaves no claim, no connection and no watcher', () => {
  const approach = begin()
  approach.slow()
  approach.cancel()
  expect(claims()).toEqual([0, 0, 0])
  expect([a, b].every((target) => target.last.destroy.mock.calls.length === 1)).toBe(true)
  approach.routeChanged()
  expect(claims()).toEqual([0, 0, 0])
})
