import { createServer, request as httpRequest, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { closeEdges, type EdgeFixture, HOST, ROUTE, startEdge, swapTo, targetOf } from '../support/edge-fixture.ts'
import { exchangeRaw, OK, type RawApp, type RawConnection, rawClient, startRawApp, statusOf } from '../support/edge-raw.ts'
import { eventually } from '../support/eventually.ts'

let fixture: EdgeFixture
let instances = 0
const closing: (() => unknown)[] = []

beforeAll(async () => {
  fixture = await startEdge({ workers: 1, responseTimeoutMs: 400 })
})
afterAll(closeEdges)
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
})

async function serveRaw(answer: (connection: RawConnection, head: string) => string | null): Promise<RawApp> {
  const app = await startRawApp(answer)
  closing.push(() => app.close())
  await fixture.edge.swap(swapTo([targetOf(`raw${instances++}`, app.port)]))
  return app
}

async function serve(listener: Parameters<typeof createServer>[1]): Promise<Server> {
  const server = createServer(listener as never)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closing.push(() => {
    server.close()
    server.closeAllConnections()
  })
  await fixture.edge.swap(swapTo([targetOf(`app${instances++}`, (server.address() as AddressInfo).port)]))
  return server
}

async function client(): Promise<RawConnection> {
  const connection = await rawClient(fixture.port)
  closing.push(() => connection.socket.destroy())
  return connection
}

const get = (path = '/', lines = '') => `GET ${path} HTTP/1.1\r\nhost: ${HOST}\r\n${lines}\r\n`
const post = (lines: string, path = '/') => `POST ${path} HTTP/1.1\r\nhost: ${HOST}\r\n${lines}\r\n`
const traffic = () => fixture.edge.traffic(ROUTE)

test('a large body streams both ways unchanged, with back-pressure', async () => {
  await serve((request, response) => request.pipe(response))
  const size = 64 * 1024 * 1024
  const chunk = Buffer.alloc(1024 * 1024, 'abcdefg')
  let received = 0
  await new Promise<void>((resolve, reject) => {
    const request = httpRequest({ port: fixture.port, method: 'POST', headers: { host: HOST } }, (response) => {
      response.on('data', (data: Buffer) => {
        received += data.length
      })
      response.on('end', resolve)
    })
    request.on('error', reject)
    let left = size / chunk.length
    const send = () => {
      while (left-- > 0) if (!request.write(chunk)) return void request.once('drain', send)
      request.end()
    }
    send()
  })
  expect(received).toBe(size)
})

test('Expect: 100-continue is answered by the instance, which may also refuse', async () => {
  await serveRaw((connection, head) => {
    if (head.includes('/refuse')) return 'HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n'
    connection.socket.write('HTTP/1.1 100 Continue\r\n\r\n')
    void connection.until('hello').then(() => connection.socket.write(OK))
    return null
  })
  const going = await client()
  going.socket.write(post('expect: 100-continue\r\ncontent-length: 5\r\n'))
  await going.until('HTTP/1.1 100 Continue\r\n\r\n')
  going.socket.write('hello')
  await going.until('\r\n\r\nok')
  const refused = await client()
  refused.socket.write(post('expect: 100-continue\r\ncontent-length: 5\r\n', '/refuse'))
  await refused.until(/^HTTP\/1\.1 413[\s\S]*connection: close/i)
})

test('trailers pass in both directions, framing headers among them do not', async () => {
  const app = await serveRaw((connection) => {
    void connection
      .until('x-sum: 1')
      .then(() =>
        connection.socket.write(
          'HTTP/1.1 200 OK\r\ntrailer: x-check\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-check: 2\r\ncontent-length: 9\r\nx-shiplock-error: held\r\n\r\n',
        ),
      )
    return null
  })
  const connection = await client()
  connection.socket.write(
    `${post('trailer: x-sum\r\ntransfer-encoding: chunked\r\n')}2\r\nhi\r\n0\r\nx-sum: 1\r\nhost: evil\r\nx-real-ip: evil\r\n\r\n`,
  )
  const answer = await connection.until(/0\r\nx-check: 2\r\n\r\n$/)
  expect(answer).toMatch(/trailer: x-check/i)
  expect(answer).not.toContain('content-length: 9')
  expect(app.received()).not.toContain('evil')
})

test.each([
  ['HEAD with a length', 'HEAD', 'HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n', /content-length: 5000/],
  ['204', 'GET', 'HTTP/1.1 204 No Content\r\n\r\n', /^HTTP\/1\.1 204/],
  ['304 with a length', 'GET', 'HTTP/1.1 304 Not Modified\r\ncontent-length: 77\r\netag: "x"\r\n\r\n', /etag: "x"/],
])('%s has no body, and the connection serves the next request', async (_name, method, answer, wanted) => {
  await serveRaw(() => answer)
  const connection = await client()
  for (let count = 1; count <= 3; count++) {
    connection.socket.write(`${method} / HTTP/1.1\r\nhost: ${HOST}\r\n\r\n`)
    await eventually(() => connection.text.split('HTTP/1.1 ').length === count + 1 && connection.text.endsWith('\r\n\r\n'))
  }
  expect(connection.text).toMatch(wanted)
})

test('early hints reach the client before the answer', async () => {
  await serveRaw(() => `HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload; as=style\r\n\r\n${OK}`)
  const answer = await exchangeRaw(fixture.port, get())
  expect(answer.indexOf('HTTP/1.1 103')).toBe(0)
  expect(answer).toMatch(/link: <\/a\.css>; rel=preload/i)
  expect(answer).toContain('HTTP/1.1 200')
})

test.each([
  ['two links in one header', 'link: </a.css>; rel=preload, </b.js>; rel=preload'],
  ['a quoted value with a blank', 'link: </a.css>; rel=preload; title="a b"'],
  ['two headers', 'link: </a.css>; rel=preload\r\nlink: <https://cdn.example.com/b.js>; rel=preconnect'],
])('early hints with %s pass, and the request reaches the app once', async (_name, line) => {
  const app = await serveRaw(() => `HTTP/1.1 103 Early Hints\r\n${line}\r\n\r\n${OK}`)
  const answer = await exchangeRaw(fixture.port, get())
  expect(answer.indexOf(`HTTP/1.1 103 Early Hints\r\n${line}\r\n\r\nHTTP/1.1 200`)).toBe(0)
  expect(app.received().split('HTTP/1.1\r\n').length).toBe(2)
})

test('an answer that ends with the connection is delivered whole', async () => {
  await serveRaw((connection) => {
    connection.socket.end('HTTP/1.1 200 OK\r\n\r\nall of it')
    return null
  })
  const connection = await client()
  connection.socket.write(get())
  expect(await connection.until(/\r\n0\r\n\r\n$/)).toContain('9\r\nall of it\r\n')
})

test('an answer that is cut short is not completed for the client', async () => {
  await serveRaw((connection) => {
    connection.socket.end('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this')
    return null
  })
  const connection = await client()
  connection.socket.write(get())
  await connection.untilClosed()
  expect(connection.text).toContain('only this')
  expect((await traffic())?.failures).toBe(1)
})

test('HTTP/1.0 clients get an answer that ends with the connection', async () => {
  await serveRaw(() => 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n')
  const connection = await client()
  connection.socket.write(`GET / HTTP/1.0\r\nhost: ${HOST}\r\n\r\n`)
  await connection.untilClosed()
  expect(connection.text).toMatch(/\r\n\r\nok$/)
})

test('events and slow bodies are passed on as they come', async () => {
  const app = await serveRaw((connection) => {
    connection.socket.write('HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n')
    return null
  })
  const connection = await client()
  connection.socket.write(get())
  // The head alone arrives: an event source is open before its first event.
  await connection.until(/^HTTP\/1\.1 200[\s\S]*\r\n\r\n$/)
  app.connections[0]?.socket.write('9\r\ndata: 1\n\n\r\n')
  await connection.until('data: 1\n\n')
})

test('a client that goes away ends the request at the instance', async () => {
  const app = await serveRaw(() => null)
  const connection = await client()
  connection.socket.write(get())
  await eventually(() => app.connections.length === 1)
  await app.connections[0]?.until('GET /')
  connection.socket.destroy()
  await app.connections[0]?.untilClosed()
  await eventually(async () => (await traffic())?.targets[0]?.inFlight === 0)
})

test('a pipelining client that goes away ends all its requests, also those that waited for their turn', async () => {
  const app = await serveRaw(() => null)
  const connection = await client()
  connection.socket.write(get().repeat(3))
  await eventually(() => app.connections.length === 3)
  connection.socket.destroy()
  await eventually(() => app.connections.every((each) => each.isClosed))
  await eventually(async () => (await traffic())?.targets[0]?.inFlight === 0)
})

test('requests on one client connection share the connections to the instance', async () => {
  const app = await serveRaw(() => OK)
  const connection = await client()
  for (let count = 1; count <= 5; count++) {
    connection.socket.write(get())
    await eventually(() => connection.text.split('\r\n\r\nok').length === count + 1)
  }
  expect(app.connections.length).toBe(1)
})

test('a GET whose reused connection breaks before an answer is sent again; the client sees nothing', async () => {
  let requests = 0
  const app = await serveRaw((connection) => {
    requests += 1
    if (requests !== 2) return OK
    connection.socket.destroy()
    return null
  })
  const connection = await client()
  connection.socket.write(get())
  await connection.until('\r\n\r\nok')
  connection.socket.write(get())
  await eventually(() => connection.text.split('\r\n\r\nok').length === 3)
  expect(app.connections.length).toBe(2)
  expect((await traffic())?.failures).toBe(0)
})

test('a POST that was sent is never sent again: the client gets 502', async () => {
  let requests = 0
  await serveRaw((connection) => {
    requests += 1
    connection.socket.destroy()
    return null
  })
  const answer = await exchangeRaw(fixture.port, `${post('content-length: 5\r\n')}hello`)
  expect(statusOf(answer)).toBe(502)
  expect(answer).toContain('x-shiplock-error: instance-failed')
  expect(requests).toBe(1)
})

test('a refused connection sends even a POST to another instance, and nothing is lost', async () => {
  const app = await serveRaw(() => OK)
  const dead = await startRawApp()
  await dead.close()
  await fixture.edge.swap(swapTo([targetOf('dead', dead.port), targetOf('alive', app.port)]))
  for (let count = 0; count < 6; count++) {
    expect(statusOf(await exchangeRaw(fixture.port, `${post('content-length: 5\r\n')}hello`))).toBe(200)
  }
  expect(await traffic()).toMatchObject({ requests: 6, failures: 0 })
})

test('an instance that can not be reached is 502, one that does not answer is 504', async () => {
  const dead = await startRawApp()
  await dead.close()
  await fixture.edge.swap(swapTo([targetOf('dead', dead.port)]))
  expect(await exchangeRaw(fixture.port, get())).toContain('x-shiplock-error: instance-unreachable')
  await serveRaw(() => null)
  const answer = await exchangeRaw(fixture.port, get())
  expect(statusOf(answer)).toBe(504)
  expect(answer).toContain('x-shiplock-error: instance-timeout')
  expect((await traffic())?.failures).toBe(1)
})

test('an answer before the end of the request body reaches the client', async () => {
  await serveRaw(() => 'HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n')
  const connection = await client()
  connection.socket.write(`${post('content-length: 100000\r\n')}the beginning`)
  await connection.until(/^HTTP\/1\.1 413/)
})

test('server errors of instances are counted, per instance too', async () => {
  await serveRaw(() => 'HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n')
  await exchangeRaw(fixture.port, get())
  expect(await traffic()).toMatchObject({ requests: 1, serverErrors: 1, failures: 0, targets: [{ serverErrors: 1 }] })
})

test('an unknown host is a small 404 that names no other host, as HTML only for who asks for it', async () => {
  const plain = await exchangeRaw(fixture.port, 'GET / HTTP/1.1\r\nhost: nobody.localhost\r\n\r\n')
  expect(statusOf(plain)).toBe(404)
  expect(plain).toMatch(/x-shiplock-error: unknown-host[\s\S]*text\/plain/)
  expect(plain).not.toContain(HOST)
  const html = await exchangeRaw(fixture.port, 'GET / HTTP/1.1\r\nhost: nobody.localhost\r\naccept: text/html,*/*\r\n\r\n')
  expect(html).toMatch(/text\/html[\s\S]*<h1>404 Not found<\/h1>/)
})

test('host names are matched without regard to case, port and a final dot', async () => {
  await serveRaw(() => OK)
  for (const host of ['HELLO.localhost', `${HOST}:${fixture.port}`, `${HOST}.`]) {
    expect(statusOf(await exchangeRaw(fixture.port, `GET / HTTP/1.1\r\nhost: ${host}\r\n\r\n`))).toBe(200)
  }
})

test('the least loaded instance gets the next request', async () => {
  const apps = await Promise.all([0, 1, 2].map(() => startRawApp((_connection, head) => (head.includes('/stay') ? null : OK))))
  closing.push(...apps.map((app) => () => app.close()))
  await fixture.edge.swap(swapTo(apps.map((app, index) => targetOf(`even${instances}-${index}`, app.port))))
  const waiting = await Promise.all([0, 1].map(() => client()))
  for (const connection of waiting) connection.socket.write(get('/stay'))
  await eventually(() => apps.filter((app) => app.received().includes('/stay')).length === 2)
  for (let count = 0; count < 8; count++) await exchangeRaw(fixture.port, get('/quick'))
  const quick = apps.map((app) => app.received().split('/quick').length - 1)
  expect(quick.sort((a, b) => a - b)).toEqual([0, 0, 8])
})

test('an instance with a keep-alive time of one second never costs a request', async () => {
  const server = await serve((request, response) => {
    request.resume()
    request.on('end', () => response.end('ok'))
  })
  server.keepAliveTimeout = 1000
  const connection = await client()
  // Pauses around the time at which the instance closes: the connection is gone, going, or still good.
  for (const [index, pauseMs] of [960, 990, 1000, 1005, 1010].entries()) {
    connection.socket.write(`${post('content-length: 5\r\n')}hello`)
    await eventually(() => connection.text.split('HTTP/1.1 200').length === index + 2)
    await new Promise((resolve) => setTimeout(resolve, pauseMs))
  }
  expect((await traffic())?.failures).toBe(0)
})

const H2C = 'connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAARAAAAAAAIAAAAA\r\n'
test.each([
  ['with a length', `${H2C}content-length: 7\r\n`, '{"a":1}'],
  ['chunked', `${H2C}transfer-encoding: chunked\r\n`, '7\r\n{"a":1}\r\n0\r\n\r\n'],
])('an offer of h2c with a body %s is served as HTTP/1.1, and so is what follows', async (_, lines, body) => {
  const seen: string[] = []
  await serve((request, response) => {
    seen.push(`${request.headers.upgrade} ${request.headers['http2-settings']} ${request.headers.connection}`)
    request.pipe(response)
  })
  const connection = await client()
  connection.socket.write(post(lines) + body)
  expect(await connection.until('{"a":1}')).toContain('HTTP/1.1 200')
  connection.socket.write(`${post('content-length: 5\r\n')}after`)
  expect(await connection.until('after')).toContain('HTTP/1.1 200')
  expect(seen).toEqual(['undefined undefined keep-alive', 'undefined undefined keep-alive'])
})

test('I9: a body before the upgrade of something else is refused, its bytes are no tunnel', async () => {
  await serve((_, response) => response.end('no'))
  const connection = await client()
  connection.socket.write(`${post('connection: upgrade\r\nupgrade: websocket\r\ncontent-length: 3\r\n')}abc`)
  expect(await connection.until('not be understood')).toContain('HTTP/1.1 400')
})

test('a websocket offer with a length of nothing is one', async () => {
  await serveRaw((_, head) =>
    head.includes('upgrade: websocket') ? 'HTTP/1.1 101 ok\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nhi' : OK,
  )
  const connection = await client()
  connection.socket.write(get('/', 'connection: upgrade\r\nupgrade: websocket\r\ncontent-length: 0\r\n'))
  expect(await connection.until('hi')).toContain('HTTP/1.1 101')
})

test('an upload that takes longer than an answer may is no silence of the application', async () => {
  await serve((request, response) => request.on('end', () => response.end('whole')).resume())
  const connection = await client()
  connection.socket.write(post('content-length: 12\r\n'))
  const began = performance.now()
  for (let sent = 0; sent < 12; sent++) {
    connection.socket.write('x')
    await new Promise((resolve) => setTimeout(resolve, 80))
  }
  expect(await connection.until('whole')).toContain('HTTP/1.1 200')
  expect(performance.now() - began).toBeGreaterThan(2 * 400)
})

test('an upload that stands still ends with 504, counted from its last byte', async () => {
  await serve((request) => request.resume())
  const connection = await client()
  connection.socket.write(`${post('content-length: 12\r\n')}x`)
  expect(await connection.until('did not answer in time')).toContain('HTTP/1.1 504')
})

test.each([
  ['GET /healthz HTTP/1.0\r\n\r\n', 'HTTP/1.1 200', 'ok\n'],
  ['GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n', 'HTTP/1.1 200', 'ok\n'],
  ['GET / HTTP/1.0\r\n\r\n', 'HTTP/1.1 404', 'Nothing is served'],
  ['GET / HTTP/1.1\r\n\r\n', 'HTTP/1.1 400', ''],
])('a balancer that knows no host asks %j', async (request, status, text) => {
  const connection = await client()
  connection.socket.write(request)
  const answer = await connection.until(text === '' ? status : text)
  expect(answer).toContain(status)
})

test('/healthz of a host that is served is the application’s', async () => {
  await serve((_, response) => response.end('the app'))
  const connection = await client()
  connection.socket.write(get('/healthz'))
  expect(await connection.until('the app')).toContain('200')
})

test('what is not percent-encoded, or too large, is told as that', async () => {
  const connection = await client()
  connection.socket.write(Buffer.from(get('/größe')))
  expect(await connection.until('percent-encoded')).toContain('HTTP/1.1 400')
  const large = await client()
  large.socket.write(get('/', `x: ${'x'.repeat(70_000)}\r\n`))
  expect(await large.until('64 KiB')).toContain('HTTP/1.1 431')
})
