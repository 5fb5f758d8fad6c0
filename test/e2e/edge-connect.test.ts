import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { LIMITS } from '../../src/core/limits.ts'
import type { InstanceId } from '../../src/domain/ids.ts'
import { type BlackHole, startBlackHole } from '../support/black-hole.ts'
import { closeEdges, type EdgeFixture, HOST, ROUTE, startEdge, swapTo, targetOf } from '../support/edge-fixture.ts'
import { exchangeRaw, OK, type RawApp, rawClient, startRawApp, statusOf } from '../support/edge-raw.ts'
import { eventually } from '../support/eventually.ts'

let fixture: EdgeFixture
let hole: BlackHole
let instances = 0
const closing: (() => unknown)[] = []

beforeAll(async () => {
  ;[fixture, hole] = await Promise.all([startEdge({ workers: 1 }), startBlackHole()])
})
afterAll(async () => {
  await hole.close()
  await closeEdges()
})
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
})

const UPGRADE = 'connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: eA==\r\n'
const request = (method: 'GET' | 'POST' | 'upgrade') => {
  if (method === 'POST') return `POST / HTTP/1.1\r\nhost: ${HOST}\r\ncontent-length: 5\r\n\r\nhello`
  return `GET / HTTP/1.1\r\nhost: ${HOST}\r\n${method === 'GET' ? '' : UPGRADE}\r\n`
}
const name = (kind: string) => `${kind}${instances++}`
const inFlight = async (instance: string) =>
  (await fixture.edge.traffic(ROUTE))?.targets.find((target) => target.instanceId === `ins_${instance}`)?.inFlight ?? 0

async function app(): Promise<RawApp> {
  const started = await startRawApp(() => OK)
  closing.push(() => started.close())
  return started
}

/** A request that has claimed an instance which never accepts. */
async function stuck(method: Parameters<typeof request>[0]) {
  const dead = name('dead')
  await fixture.edge.swap(swapTo([targetOf(dead, hole.port)]))
  const client = await rawClient(fixture.port)
  closing.push(() => client.socket.destroy())
  client.socket.write(request(method))
  await eventually(async () => (await inFlight(dead)) === 1)
  return { client, dead: `ins_${dead}` as InstanceId, startedAt: performance.now() }
}

test.for(['GET', 'POST', 'upgrade'] as const)(
  'I3: %s on its way to an instance that never accepts goes to the new one with the swap',
  async (method) => {
    const alive = await app()
    const { client, dead, startedAt } = await stuck(method)
    await fixture.edge.swap(swapTo([targetOf(name('alive'), alive.port)]))
    // Before anything is cut: the claim has landed with the swap.
    expect(await fixture.edge.drain(ROUTE, [dead], { timeoutMs: 60_000, fence: 1 })).toMatchObject({ cutConnections: 0 })
    await client.until(/^HTTP\/1\.1 200/)
    expect(performance.now() - startedAt).toBeLessThan(LIMITS.upstreamConnectMs)
    if (method === 'POST') expect(alive.received().match(/\r\n\r\nhello/g)).toHaveLength(1)
  },
)

test('I3: a request on its way waits through a hold', async () => {
  const alive = await app()
  const { client } = await stuck('POST')
  await fixture.edge.swap(swapTo([]))
  await fixture.edge.hold(ROUTE, { maxMs: 30_000, fence: 1 })
  await fixture.edge.swap(swapTo([targetOf(name('alive'), alive.port)]))
  await client.until(/^HTTP\/1\.1 200/)
})

test.for(['GET', 'POST', 'upgrade'] as const)(
  '%s tries another instance beside one that is slow to accept; only one gets it',
  async (method) => {
    const alive = await app()
    const [dead, good] = [name('dead'), name('alive')]
    await fixture.edge.swap(swapTo([targetOf(dead, hole.port), targetOf(good, alive.port)]))
    const startedAt = performance.now()
    for (let count = 0; count < 4; count++) expect(statusOf(await exchangeRaw(fixture.port, request(method)))).toBe(200)
    expect(performance.now() - startedAt).toBeLessThan(LIMITS.upstreamConnectMs)
    expect(alive.received().match(/ HTTP\/1\.1\r/g)).toHaveLength(4)
    expect(await fixture.edge.traffic(ROUTE)).toMatchObject({ requests: 4, failures: 0 })
    await eventually(async () => (await inFlight(dead)) === 0 && (await inFlight(good)) === 0)
  },
)

test('a client that goes away leaves no claim on an instance that never accepts', async () => {
  const { client, dead } = await stuck('GET')
  client.socket.destroy()
  await eventually(async () => (await inFlight(dead.slice('ins_'.length))) === 0)
})

test('with one instance only a request waits for it, up to the bound', async () => {
  await fixture.edge.swap(swapTo([targetOf(name('dead'), hole.port)]))
  const startedAt = performance.now()
  const answer = await exchangeRaw(fixture.port, request('GET'))
  expect(answer).toContain('x-shiplock-error: instance-unreachable')
  expect(performance.now() - startedAt).toBeGreaterThan(LIMITS.upstreamConnectMs - 500)
})

test('with one instance only a request that waits is served once the instance accepts', async () => {
  const { client } = await stuck('GET')
  hole.wake()
  await client.until(/^HTTP\/1\.1 200[\s\S]*late/)
})

/** An instance that has just ended: its port refuses. */
async function ended() {
  const gone = await startRawApp(() => OK)
  await gone.close()
  const target = targetOf(name('ended'), gone.port)
  await fixture.edge.swap(swapTo([target]))
  const back = async () => {
    const started = await startRawApp(() => OK, gone.port)
    closing.push(() => started.close())
    return started
  }
  return { target, back }
}

async function asked(method: Parameters<typeof request>[0]) {
  const client = await rawClient(fixture.port)
  closing.push(() => client.socket.destroy())
  client.socket.write(request(method))
  return client
}

test.for(['GET', 'POST', 'upgrade'] as const)(
  'I3: %s waits while the only instance refuses, and is served once it is back',
  async (method) => {
    const { back } = await ended()
    const client = await asked(method)
    await eventually(async () => (await fixture.edge.traffic(ROUTE))?.requests === 1)
    const app = await back()
    await client.until(/^HTTP\/1\.1 200/)
    if (method === 'POST') expect(app.received().match(/\r\n\r\nhello/g)).toHaveLength(1)
    expect((await fixture.edge.traffic(ROUTE))?.failures).toBe(0)
  },
)

test.for(['GET', 'POST', 'upgrade'] as const)(
  'I3: %s that was refused before a hold is served by the same instance after it',
  async (method) => {
    const { target, back } = await ended()
    const client = await asked(method)
    await eventually(async () => (await fixture.edge.traffic(ROUTE))?.requests === 1)
    await fixture.edge.hold(ROUTE, { maxMs: 30_000, fence: 1 })
    await back()
    await fixture.edge.swap(swapTo([target]))
    await client.until(/^HTTP\/1\.1 200/)
  },
)

test('a GET that ends its instance is not kept for the next one, which it would end too', async () => {
  const dying = await startRawApp((connection) => {
    connection.socket.destroy()
    void dying.close()
    return null
  })
  await fixture.edge.swap(swapTo([targetOf(name('dying'), dying.port)]))
  expect(await exchangeRaw(fixture.port, request('GET'))).toContain('x-shiplock-error: instance-failed')
  expect(dying.connections.length).toBe(1)
})

test('I12: an instance that stays away is waited for no longer than a connection may take', async () => {
  await ended()
  const startedAt = performance.now()
  expect(await exchangeRaw(fixture.port, request('GET'))).toContain('x-shiplock-error: instance-unreachable')
  expect(performance.now() - startedAt).toBeGreaterThan(LIMITS.upstreamConnectMs - 500)
})

test('an instance that comes and goes while a client leaves costs nothing', async () => {
  const { back } = await ended()
  const client = await asked('POST')
  await eventually(async () => (await fixture.edge.traffic(ROUTE))?.requests === 1)
  client.socket.destroy()
  const returned = await back()
  expect(statusOf(await exchangeRaw(fixture.port, request('GET')))).toBe(200)
  expect(returned.received()).not.toContain('POST')
})
