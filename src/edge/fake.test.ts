import { expect, test } from 'vitest'
import type { InstanceId, ServiceEnvironmentId } from '../domain/ids.ts'
import type { SwapRequest } from './edge.ts'
import { FakeEdge } from './fake.ts'

const ROUTE = 'sen_a' as ServiceEnvironmentId
const request: SwapRequest = {
  routeId: ROUTE,
  hosts: ['a.localhost'],
  pathPrefix: '',
  targets: [{ instanceId: 'ins_a' as InstanceId, host: '127.0.0.1', port: 80 }],
  fence: 1,
  ifGeneration: 0,
}

test('a lost reply: it happened, the caller does not know, and asking again finds it done', async () => {
  const edge = new FakeEdge()
  edge.fail('swap', 'lose-reply')
  await expect(edge.swap(request)).rejects.toMatchObject({ code: 'EDGE_UNAVAILABLE' })
  expect(await edge.read()).toMatchObject([{ id: ROUTE, generation: 1 }])
  expect(await edge.swap(request)).toMatchObject({ generation: 1, replaced: [] })
})

test('a refusal changes nothing', async () => {
  const edge = new FakeEdge()
  edge.fail('swap', 'refuse', 2)
  for (let count = 0; count < 2; count++) await expect(edge.swap(request)).rejects.toThrow(/told to refuse/)
  expect(await edge.read()).toEqual([])
  expect((await edge.swap(request)).generation).toBe(1)
})

test('a call that hangs goes on once the edge is healed', async () => {
  const edge = new FakeEdge()
  edge.fail('swap', 'hang')
  const waiting = edge.swap(request)
  expect(await edge.read()).toEqual([])
  edge.heal()
  expect((await waiting).generation).toBe(1)
})

test('traffic and drain report what the test set, until the next swap', async () => {
  const edge = new FakeEdge()
  await edge.swap(request)
  edge.setTraffic(ROUTE, { requests: 10, serverErrors: 4, failures: 1 })
  edge.drainReport = { cutConnections: 2 }
  expect(await edge.traffic(ROUTE)).toMatchObject({ requests: 10, serverErrors: 4 })
  const drained = await edge.drain(ROUTE, ['ins_old' as InstanceId], { timeoutMs: 1, fence: 1 })
  expect(drained).toMatchObject({ requests: 10, failures: 1, cutConnections: 2 })
  await edge.swap({ ...request, targets: [], ifGeneration: 1 })
  expect(await edge.traffic(ROUTE)).toMatchObject({ generation: 2, requests: 0 })
})

test('calls are recorded in order', async () => {
  const edge = new FakeEdge()
  await edge.swap(request)
  await edge.hold(ROUTE, { maxMs: 1, fence: 1 })
  await edge.release(ROUTE, 1)
  expect(edge.calls.map((entry) => entry.call)).toEqual(['swap', 'hold', 'release'])
})
