import { createServer, request as httpRequest, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Clock, systemClock } from '../../src/core/clock.ts'
import type { ServiceEnvironmentId } from '../../src/domain/ids.ts'
import type { Target } from '../../src/edge/edge.ts'
import { PROVIDER_PATH, TraefikProvider } from '../../src/edge/traefik/provider.ts'
import { TraefikEdge } from '../../src/edge/traefik/traefik-edge.ts'
import { edgeConformance } from '../conformance/edge-suite.ts'
import { type EdgeFixture, startEdge, targetOf } from '../support/edge-fixture.ts'
import { eventually } from '../support/eventually.ts'
import { TraefikStandIn } from '../support/traefik-stand-in.ts'

interface Setup {
  readonly edge: TraefikEdge
  readonly inner: EdgeFixture
  readonly provider: TraefikProvider
  readonly traefik: TraefikStandIn
  readonly hosts: string[]
  close(): Promise<void>
}

interface Changes {
  readonly clock?: Clock
  readonly headers?: Readonly<Record<string, string>>
  readonly untilShown?: { shown(): void }
  readonly scheme?: 'http' | 'https'
  readonly keep?: (text: string) => Promise<void>
}

const TOKEN = 'a-token'
const BEARER = { authorization: `Bearer ${TOKEN}` }

async function setUp({ clock = systemClock, headers = BEARER, untilShown, scheme = 'http', keep }: Changes = {}): Promise<Setup> {
  const hosts: string[] = []
  const inner = await startEdge({ trustsForwarded: true })
  const ports = { entry: 0 }
  const edge = new TraefikEdge({
    inner: inner.edge,
    routing: () => ({ innerUrl: inner.edge.listenUrl, entryPoints: [], certResolver: scheme === 'https' ? 'le' : null }),
    // The stand-in has no certificates: it only says that it was TLS.
    entry: {
      isTls: false,
      host: '127.0.0.1',
      get port() {
        return ports.entry
      },
    },
    listHosts: async () => {
      if (hosts.includes('!')) throw new Error('the database is away')
      return hosts
    },
    clock,
  })
  const provider = new TraefikProvider({
    listen: { host: '127.0.0.1', port: 0 },
    token: TOKEN,
    untilShown: untilShown ?? null,
    document: () => edge.document(),
    ...(keep === undefined ? {} : { keep }),
    clock,
  })
  await provider.start()
  edge.attach(provider)
  const traefik = new TraefikStandIn({
    endpoint: `http://127.0.0.1:${provider.port}${PROVIDER_PATH}`,
    scheme,
    headers,
  })
  await traefik.start()
  ports.entry = traefik.port
  const close = async () => {
    await traefik.stop()
    await provider.stop()
    await inner.close()
  }
  return { edge, inner, provider, traefik, hosts, close }
}

/** Answers its name and what it was told about the client. */
async function app(name: string): Promise<{ readonly server: Server; readonly target: Target }> {
  const server = createServer((request, response) => {
    let size = 0
    request.on('data', (chunk: Buffer) => {
      size += chunk.length
    })
    request.on('end', () => response.end(JSON.stringify({ name, size, proto: request.headers['x-forwarded-proto'] })))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return { server, target: targetOf(name, (server.address() as AddressInfo).port) }
}

function ask(port: number, host: string, body = '', path = '/'): Promise<{ readonly status: number; readonly body: string }> {
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port, path, method: body === '' ? 'GET' : 'POST', headers: { host }, agent: false }
    const request = httpRequest(options, (response) => {
      let text = ''
      response.on('data', (chunk) => {
        text += chunk
      })
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body: text }))
      response.on('error', reject)
    })
    request.on('error', reject)
    request.end(body)
  })
}

edgeConformance({
  name: 'traefik (a stand-in that polls and routes as Traefik does)',
  noTraffic: null,
  open: async () => {
    const hello = createServer((_request, response) => response.end('hello'))
    await new Promise<void>((resolve) => hello.listen(0, '127.0.0.1', resolve))
    const setup = await setUp()
    return {
      edge: setup.edge,
      target: (instance) => targetOf(instance, (hello.address() as AddressInfo).port),
      get: (host, path) => ask(setup.traefik.port, host, '', path),
      close: async () => {
        await setup.close()
        hello.close()
        hello.closeAllConnections()
      },
    }
  },
})

describe('behind Traefik', () => {
  const route = (id: string) => `sen_${id}` as ServiceEnvironmentId
  const swap = (id: string, host: string, target: Target, fence: number) => ({
    ...{ routeId: route(id), hosts: [host], pathPrefix: '', targets: [target] },
    ...{ fence, ifGeneration: null },
  })
  let one: Awaited<ReturnType<typeof app>>
  let two: Awaited<ReturnType<typeof app>>
  beforeAll(async () => {
    one = await app('one')
    two = await app('two')
  })
  afterAll(() => {
    for (const { server } of [one, two]) {
      server.close()
      server.closeAllConnections()
    }
  })

  test('I3: a swap is acknowledged when the next request through Traefik goes to the new version, and changes nothing in Traefik', async () => {
    const setup = await setUp()
    try {
      const { edge, traefik } = setup
      await edge.swap(swap('a', 'a.localhost', one.target, 1))
      expect(await ask(traefik.port, 'a.localhost')).toMatchObject({ status: 200, body: expect.stringContaining('"one"') })
      const applied = traefik.applied
      const failures: string[] = []
      let isOver = false
      let answers = 0
      const load = Array.from({ length: 4 }, async () => {
        while (!isOver) {
          const answer = await ask(traefik.port, 'a.localhost', 'x'.repeat(1000)).catch((error: Error) => ({
            status: 0,
            body: error.message,
          }))
          answers += 1
          if (answer.status !== 200 || !answer.body.includes('"size":1000')) failures.push(`${answer.status} ${answer.body}`)
        }
      })
      for (let number = 2; number <= 20; number++) {
        const next = number % 2 === 0 ? two : one
        await edge.swap(swap('a', 'a.localhost', next.target, number))
        const name = next === two ? '"two"' : '"one"'
        expect((await ask(traefik.port, 'a.localhost')).body).toContain(name)
        expect(await edge.probe('a.localhost', '', AbortSignal.timeout(10_000))).toMatchObject({ generation: number, status: 200 })
        await eventually(() => answers > number * 4)
      }
      isOver = true
      await Promise.all(load)
      expect(failures).toEqual([])
      expect(traefik.applied).toBe(applied)
    } finally {
      await setup.close()
    }
  }, 60_000)

  test('I1: a new host that Traefik does not take over is refused before anything is switched; what serves is swapped all the same', async () => {
    // A hundred times as fast, so that nobody waits for the bound.
    const clock: Clock = {
      ...systemClock,
      monotonic: () => performance.now() * 100,
      sleep: (ms, signal) => systemClock.sleep(ms / 100, signal),
    }
    const setup = await setUp({ clock })
    try {
      const { edge, traefik } = setup
      await eventually(() => edge.swap(swap('a', 'a.localhost', one.target, 1)).then(() => true), { withinMs: 20_000 })
      // With a clock that fast the edge may have given up on Traefik and swapped without it.
      await eventually(async () => expect((await ask(traefik.port, 'a.localhost')).body).toContain('"one"'), { withinMs: 20_000 })
      await traefik.pause()
      await expect(edge.swap(swap('b', 'b.localhost', one.target, 2))).rejects.toMatchObject({
        code: 'EDGE_FRONT_SILENT',
        message: expect.stringContaining('nothing was switched'),
      })
      expect((await edge.read()).map((known) => known.id)).toEqual([route('a')])
      await edge.swap(swap('a', 'a.localhost', two.target, 3))
      expect((await ask(traefik.port, 'a.localhost')).body).toContain('"two"')
      await eventually(async () => expect(await edge.check(AbortSignal.timeout(5000))).toMatchObject({ ok: false }))
      traefik.resume()
      await eventually(() => edge.swap(swap('b', 'b.localhost', one.target, 4)).then(() => true), { withinMs: 20_000 })
      expect(await edge.check(AbortSignal.timeout(5000))).toMatchObject({ ok: true, summary: expect.stringContaining('Traefik asked') })
    } finally {
      await setup.close()
    }
  }, 60_000)

  test('Traefik knows the host of a service before its first deployment, and keeps all of them while the database is away', async () => {
    const setup = await setUp()
    try {
      setup.hosts.push('early.localhost')
      await eventually(() => expect(setup.traefik.hosts).toEqual(['early.localhost']))
      setup.hosts.push('!')
      await eventually(() => expect(setup.traefik.refusal).toContain('503'))
      expect(setup.traefik.hosts).toEqual(['early.localhost'])
    } finally {
      await setup.close()
    }
  })

  test('I1: what Traefik was told is kept where it finds it without the server, whole, and again after a failure', async () => {
    const kept: string[] = []
    let isFull = true
    const keep = async (text: string) => {
      if (isFull) throw new Error('no space left on device')
      kept.push(text)
    }
    const setup = await setUp({ keep })
    try {
      setup.hosts.push('a.localhost')
      await eventually(() => expect(setup.traefik.hosts).toEqual(['a.localhost']))
      isFull = false
      await eventually(() => expect(kept).toHaveLength(1))
      expect(JSON.parse(kept[0] ?? '')).toEqual((await setup.edge.document()).document)
      setup.hosts.push('b.localhost')
      await eventually(() => expect(kept).toHaveLength(2))
      expect(kept[1]).toContain('b.localhost')
      // The database away is no reason to forget.
      setup.hosts.push('!')
      await eventually(() => expect(setup.traefik.refusal).toContain('503'))
      expect(kept).toHaveLength(2)
    } finally {
      await setup.close()
    }
  })

  test('I13: only who has the token is told, also on loopback, and nothing but the document', async () => {
    const setup = await setUp({ headers: { authorization: `Basic ${Buffer.from(`traefik:${TOKEN}`).toString('base64')}` } })
    try {
      const url = `http://127.0.0.1:${setup.provider.port}`
      expect((await fetch(`${url}${PROVIDER_PATH}`)).status).toBe(401)
      expect((await fetch(`${url}${PROVIDER_PATH}`, { headers: { authorization: 'Bearer a-tokem' } })).status).toBe(401)
      expect((await fetch(`${url}/`)).status).toBe(404)
      expect((await fetch(`${url}${PROVIDER_PATH}`, { method: 'POST' })).status).toBe(404)
      await eventually(() => setup.traefik.polls > 0)
    } finally {
      await setup.close()
    }
  })

  test('a Traefik from before there was a token is answered until it shows it, and nobody without it afterwards', async () => {
    let shown = 0
    const setup = await setUp({ headers: {}, untilShown: { shown: () => (shown += 1) } })
    try {
      const url = `http://127.0.0.1:${setup.provider.port}${PROVIDER_PATH}`
      await eventually(() => setup.traefik.polls > 0)
      expect((await setup.edge.check(AbortSignal.timeout(5000))).summary).toContain('without the token')
      await setup.traefik.pause()
      expect((await fetch(url, { headers: BEARER })).status).toBe(200)
      expect((await fetch(url)).status).toBe(401)
      expect(shown).toBe(1)
      expect((await setup.edge.check(AbortSignal.timeout(5000))).summary).not.toContain('without the token')
    } finally {
      await setup.close()
    }
  })

  test('the app is told the scheme that the client spoke with Traefik; an edge without Traefik believes nobody', async () => {
    const setup = await setUp({ scheme: 'https' })
    const alone = await startEdge()
    try {
      await setup.edge.swap(swap('a', 'a.localhost', one.target, 1))
      expect(JSON.parse((await ask(setup.traefik.port, 'a.localhost')).body)).toMatchObject({ proto: 'https' })
      await alone.edge.swap(swap('a', 'a.localhost', one.target, 1))
      const direct = await fetch(`http://127.0.0.1:${alone.port}/`, { headers: { 'x-forwarded-proto': 'https' } })
      expect(direct.status).toBe(404)
      const answer = await new Promise<string>((resolve) =>
        httpRequest({ host: '127.0.0.1', port: alone.port, headers: { host: 'a.localhost', 'x-forwarded-proto': 'https' } }, (response) => {
          response.on('data', (chunk: Buffer) => resolve(chunk.toString()))
        }).end(),
      )
      expect(JSON.parse(answer)).toMatchObject({ proto: 'http' })
    } finally {
      await setup.close()
      await alone.close()
    }
  })
})
