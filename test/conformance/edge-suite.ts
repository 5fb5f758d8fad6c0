import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { InstanceId, ServiceEnvironmentId } from '../../src/domain/ids.ts'
import type { Edge, SwapRequest, Target } from '../../src/edge/edge.ts'
import { eventually } from '../support/eventually.ts'

export interface EdgeUnderTest {
  readonly edge: Edge
  /** A target that answers; the same address for every instance id. */
  target(instance: string): Target
  /** One request by an ordinary client through the public listener. */
  get(host: string, path: string): Promise<{ readonly status: number; readonly body: string }>
  close(): Promise<void>
}

/** `noTraffic`: the reason why cases that need real requests are skipped. */
export interface EdgeSuiteOptions {
  readonly name: string
  readonly noTraffic: string | null
  open(): Promise<EdgeUnderTest>
}

/** What every edge driver must do (DESIGN.md §9). */
export function edgeConformance({ name, noTraffic, open }: EdgeSuiteOptions): void {
  let subject: EdgeUnderTest
  let routes = 0
  const withTraffic = (title: string, run: () => Promise<void>) =>
    test(title, async ({ skip }) => {
      if (noTraffic !== null) skip(`by design: ${noTraffic}`)
      await run()
    })

  /** A route of its own for each case. */
  function freshRoute(): { readonly id: ServiceEnvironmentId; readonly host: string; swap(change: Partial<SwapRequest>): SwapRequest } {
    routes += 1
    const id = `sen_conformance${routes}` as ServiceEnvironmentId
    const host = `case${routes}.localhost`
    return {
      id,
      host,
      swap: (change) => ({
        routeId: id,
        hosts: [host],
        pathPrefix: '',
        targets: [subject.target('one')],
        fence: 1,
        ifGeneration: null,
        ...change,
      }),
    }
  }
  const find = async (id: ServiceEnvironmentId) => (await subject.edge.read()).find((route) => route.id === id)
  const soon = () => AbortSignal.timeout(10_000)

  describe(`edge: ${name}`, () => {
    beforeAll(async () => {
      subject = await open()
    })
    afterAll(async () => {
      await subject.close()
    })

    withTraffic(
      'routes that were lost come back together; one that is there stays as it is, one that is refused keeps none away',
      async () => {
        const [there, first, second] = [freshRoute(), freshRoute(), freshRoute()]
        await subject.edge.swap(there.swap({ fence: 5 }))
        const targets = [subject.target('back')]
        const stolen = { ...second.swap({}), routeId: 'sen_thief' as ServiceEnvironmentId, hosts: [there.host] }
        const added = await subject.edge.giveBack([
          there.swap({ targets: [], fence: 9 }),
          first.swap({ targets }),
          stolen,
          second.swap({ targets }),
        ])
        expect([...added].sort()).toEqual([first.id, second.id].sort())
        expect(await find(there.id)).toMatchObject({ generation: 1, fence: 5, targets: [{}] })
        // A proxy in front may hear of a lost host a moment later; nobody waits for each of many.
        await eventually(async () => expect((await subject.get(first.host, '/')).status).toBe(200))
        expect(await subject.edge.giveBack([first.swap({ targets }), second.swap({ targets })])).toEqual([])
        await subject.edge.swap(first.swap({ fence: 2, targets: [subject.target('two')] }))
        expect(await find(first.id)).toMatchObject({ generation: 2 })
      },
    )

    test('the first swap makes generation 1 and replaces nothing', async () => {
      const route = freshRoute()
      const result = await subject.edge.swap(route.swap({}))
      expect(result).toMatchObject({ generation: 1, replaced: [] })
      expect(await find(route.id)).toEqual({
        id: route.id,
        hosts: [route.host],
        pathPrefix: '',
        targets: [subject.target('one')],
        generation: 1,
        fence: 1,
        held: false,
      })
    })

    test('a swap replaces the whole target set and says what it replaced', async () => {
      const route = freshRoute()
      await subject.edge.swap(route.swap({ targets: [subject.target('one'), subject.target('two')] }))
      const result = await subject.edge.swap(route.swap({ targets: [subject.target('three')] }))
      expect(result.generation).toBe(2)
      expect(result.replaced).toEqual([subject.target('one'), subject.target('two')])
      expect((await find(route.id))?.targets).toEqual([subject.target('three')])
    })

    test('the same swap again is success, with the same generation and the same answer', async () => {
      const route = freshRoute()
      await subject.edge.swap(route.swap({}))
      const request = route.swap({ targets: [subject.target('two')], ifGeneration: 1, fence: 3 })
      const first = await subject.edge.swap(request)
      const second = await subject.edge.swap(request)
      expect([second.generation, second.replaced]).toEqual([first.generation, first.replaced])
    })

    test('a successor with a higher fence that repeats the swap of the one before keeps its generation', async () => {
      const route = freshRoute()
      await subject.edge.swap(route.swap({ fence: 4 }))
      expect((await subject.edge.swap(route.swap({ fence: 5 }))).generation).toBe(1)
      expect((await find(route.id))?.fence).toBe(5)
    })

    test('I6: a stale fence is refused by every changing call and changes nothing', async () => {
      const route = freshRoute()
      await subject.edge.swap(route.swap({ fence: 7 }))
      const stale = { code: 'FENCED' }
      await expect(subject.edge.swap(route.swap({ fence: 6, targets: [subject.target('two')] }))).rejects.toMatchObject(stale)
      await expect(subject.edge.hold(route.id, { maxMs: 10, fence: 6 })).rejects.toMatchObject(stale)
      await expect(subject.edge.release(route.id, 6)).rejects.toMatchObject(stale)
      await expect(subject.edge.remove(route.id, 6)).rejects.toMatchObject(stale)
      const drain = subject.edge.drain(route.id, ['ins_none' as InstanceId], { timeoutMs: 10, fence: 6 })
      await expect(drain).rejects.toMatchObject(stale)
      expect(await find(route.id)).toMatchObject({ generation: 1, held: false, fence: 7 })
    })

    test('I6: a stale owner can not bring a removed route back', async () => {
      const route = freshRoute()
      await subject.edge.swap(route.swap({ fence: 7 }))
      await subject.edge.remove(route.id, 8)
      await expect(subject.edge.swap(route.swap({ fence: 7 }))).rejects.toMatchObject({ code: 'FENCED' })
      expect(await find(route.id)).toBeUndefined()
      expect((await subject.edge.swap(route.swap({ fence: 8, ifGeneration: 0 }))).generation).toBeGreaterThan(1)
    })

    test('ifGeneration is refused with CONFLICT when the route has moved on, and 0 means that there must be none', async () => {
      const route = freshRoute()
      await subject.edge.swap(route.swap({ ifGeneration: 0 }))
      const other = route.swap({ targets: [subject.target('two')] })
      await expect(subject.edge.swap({ ...other, ifGeneration: 0 })).rejects.toMatchObject({ code: 'CONFLICT' })
      await expect(subject.edge.swap({ ...other, ifGeneration: 5 })).rejects.toMatchObject({ code: 'CONFLICT' })
      expect((await subject.edge.swap({ ...other, ifGeneration: 1 })).generation).toBe(2)
    })

    test('I10: a host that another route serves is refused, unless the path prefix differs', async () => {
      const mine = freshRoute()
      const theirs = freshRoute()
      await subject.edge.swap(mine.swap({}))
      await expect(subject.edge.swap(theirs.swap({ hosts: [mine.host] }))).rejects.toMatchObject({ code: 'CONFLICT' })
      await subject.edge.swap(theirs.swap({ hosts: [mine.host], pathPrefix: '/api' }))
      expect(await find(theirs.id)).toMatchObject({ pathPrefix: '/api' })
    })

    test.each([
      ['an upper-case host', { hosts: ['Hello.localhost'] }],
      ['a host with a port', { hosts: ['hello.localhost:80'] }],
      ['a host with a line break', { hosts: ['hello\r\nx: y'] }],
      ['a prefix that ends in a slash', { pathPrefix: '/api/' }],
      ['a prefix without a slash', { pathPrefix: 'api' }],
      ['a port of 0', { targets: [{ instanceId: 'ins_x' as InstanceId, host: '127.0.0.1', port: 0 }] }],
      ['a target with a path in its host', { targets: [{ instanceId: 'ins_x' as InstanceId, host: '127.0.0.1/x', port: 80 }] }],
      ['a negative fence', { fence: -1 }],
    ])('I9: %s is refused and named', async (_what, change) => {
      const route = freshRoute()
      await expect(subject.edge.swap(route.swap(change))).rejects.toMatchObject({ code: 'INPUT_INVALID' })
      expect(await find(route.id)).toBeUndefined()
    })

    test('hold and release may be repeated; a swap ends a hold', async () => {
      const route = freshRoute()
      await subject.edge.swap(route.swap({}))
      await subject.edge.hold(route.id, { maxMs: 5000, fence: 1 })
      await subject.edge.hold(route.id, { maxMs: 5000, fence: 1 })
      expect((await find(route.id))?.held).toBe(true)
      await subject.edge.release(route.id, 1)
      await subject.edge.release(route.id, 1)
      expect((await find(route.id))?.held).toBe(false)
      await subject.edge.hold(route.id, { maxMs: 5000, fence: 1 })
      await subject.edge.swap(route.swap({ targets: [subject.target('two')] }))
      expect((await find(route.id))?.held).toBe(false)
    })

    test('removing what is not there, releasing it and asking for its traffic are no errors; holding it is', async () => {
      const route = freshRoute()
      await subject.edge.remove(route.id, 1)
      await subject.edge.remove(route.id, 1)
      await subject.edge.release(route.id, 1)
      expect(await subject.edge.traffic(route.id)).toBeNull()
      await expect(subject.edge.hold(route.id, { maxMs: 10, fence: 1 })).rejects.toMatchObject({ code: 'NOT_FOUND' })
    })

    test('a drain of instances that are still on the route is refused', async () => {
      const route = freshRoute()
      await subject.edge.swap(route.swap({}))
      const drain = subject.edge.drain(route.id, [subject.target('one').instanceId], { timeoutMs: 10, fence: 1 })
      await expect(drain).rejects.toMatchObject({ code: 'CONFLICT' })
    })

    test('a drain of instances that have nothing in flight ends at once and may be repeated', async () => {
      const route = freshRoute()
      await subject.edge.swap(route.swap({}))
      await subject.edge.swap(route.swap({ targets: [subject.target('two')] }))
      for (let count = 0; count < 2; count++) {
        const report = await subject.edge.drain(route.id, [subject.target('one').instanceId], { timeoutMs: 30_000, fence: 1 })
        expect(report).toMatchObject({ failures: 0, drainedConnections: 0, cutConnections: 0 })
      }
    })

    test('a probe says which generation answered, and that none did where there is no route', async () => {
      const route = freshRoute()
      expect(await subject.edge.probe(route.host, '', soon())).toEqual({ generation: null, status: 404 })
      await subject.edge.swap(route.swap({}))
      expect(await subject.edge.probe(route.host, '', soon())).toEqual({ generation: 1, status: 200 })
      await subject.edge.swap(route.swap({ targets: [subject.target('two')] }))
      expect((await subject.edge.probe(route.host, '', soon())).generation).toBe(2)
    })

    test('a route without targets answers 503 of its own', async () => {
      const route = freshRoute()
      await subject.edge.swap(route.swap({ targets: [] }))
      expect(await subject.edge.probe(route.host, '', soon())).toEqual({ generation: null, status: 503 })
    })

    test('probes do not count as traffic', async () => {
      const route = freshRoute()
      await subject.edge.swap(route.swap({}))
      await subject.edge.probe(route.host, '', soon())
      expect(await subject.edge.traffic(route.id)).toMatchObject({ generation: 1, requests: 0, failures: 0 })
    })

    test('check says that it is well, and an URL names the host', async () => {
      expect((await subject.edge.check(soon())).ok).toBe(true)
      expect(subject.edge.urlOf('hello.localhost', '/api')).toMatch(/^http:\/\/hello\.localhost(:\d+)?\/api$/)
    })

    withTraffic('requests are counted since the last swap', async () => {
      const route = freshRoute()
      await subject.edge.swap(route.swap({}))
      for (let count = 0; count < 5; count++) expect((await subject.get(route.host, '/')).status).toBe(200)
      expect(await subject.edge.traffic(route.id)).toMatchObject({
        requests: 5,
        serverErrors: 0,
        failures: 0,
        targets: [{ instanceId: subject.target('one').instanceId, requests: 5, inFlight: 0 }],
      })
      await subject.edge.swap(route.swap({ targets: [subject.target('two')] }))
      expect((await subject.edge.traffic(route.id))?.requests).toBe(0)
    })

    withTraffic('the longest prefix wins, and a removed route is gone for clients', async () => {
      const all = freshRoute()
      const api = freshRoute()
      await subject.edge.swap(all.swap({}))
      await subject.edge.swap(api.swap({ hosts: [all.host], pathPrefix: '/api', targets: [] }))
      expect((await subject.get(all.host, '/apix')).status).toBe(200)
      expect((await subject.get(all.host, '/api?x')).status).toBe(503)
      expect((await subject.get(all.host, '/api/x')).status).toBe(503)
      await subject.edge.remove(api.id, 1)
      expect((await subject.get(all.host, '/api')).status).toBe(200)
      await subject.edge.remove(all.id, 1)
      expect((await subject.get(all.host, '/')).status).toBe(404)
    })

    withTraffic('a held request waits for the swap and is answered by the new version', async () => {
      const route = freshRoute()
      await subject.edge.swap(route.swap({ targets: [] }))
      await subject.edge.hold(route.id, { maxMs: 20_000, fence: 1 })
      const waiting = subject.get(route.host, '/')
      await subject.edge.swap(route.swap({ targets: [subject.target('two')] }))
      expect((await waiting).status).toBe(200)
    })

    withTraffic('a hold that lasts too long ends in 503', async () => {
      const route = freshRoute()
      await subject.edge.swap(route.swap({}))
      await subject.edge.hold(route.id, { maxMs: 30, fence: 1 })
      expect((await subject.get(route.host, '/')).status).toBe(503)
      expect((await subject.get(route.host, '/')).status).toBe(503)
      await subject.edge.release(route.id, 1)
      expect((await subject.get(route.host, '/')).status).toBe(200)
    })
  })
}
