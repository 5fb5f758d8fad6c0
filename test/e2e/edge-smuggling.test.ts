import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { closeEdges, type EdgeFixture, HOST, startEdge, swapTo, targetOf } from '../support/edge-fixture.ts'
import { exchangeRaw, OK, type RawApp, startRawApp, statusOf } from '../support/edge-raw.ts'

let fixture: EdgeFixture
let app: RawApp

beforeAll(async () => {
  fixture = await startEdge({ workers: 1 })
})
afterAll(async () => {
  await closeEdges()
})
beforeEach(async () => {
  app = await startRawApp(() => OK)
  await fixture.edge.swap(swapTo([targetOf('raw', app.port)]))
  return () => app.close()
})

const head = (lines: string, first = 'POST / HTTP/1.1') => `${first}\r\nhost: ${HOST}\r\n${lines}\r\n`
const SMUGGLED = 'GET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n'

/** Each must be answered with an error or a closed connection, and nothing of it may reach the instance as a second request. */
const REFUSED: readonly [string, string][] = [
  ['both Content-Length and Transfer-Encoding', `${head('content-length: 5\r\ntransfer-encoding: chunked\r\n')}0\r\n\r\n${SMUGGLED}`],
  ['Transfer-Encoding before Content-Length', `${head('transfer-encoding: chunked\r\ncontent-length: 5\r\n')}0\r\n\r\n${SMUGGLED}`],
  ['two differing Content-Lengths', `${head('content-length: 5\r\ncontent-length: 0\r\n')}${SMUGGLED}`],
  ['the same Content-Length twice', `${head('content-length: 5\r\ncontent-length: 5\r\n')}hello${SMUGGLED}`],
  ['a Content-Length list', `${head('content-length: 5, 5\r\n')}hello`],
  ['a Content-Length with a plus sign', `${head('content-length: +5\r\n')}hello`],
  ['a negative Content-Length', `${head('content-length: -1\r\n')}hello`],
  ['a hexadecimal Content-Length', `${head('content-length: 0x5\r\n')}hello`],
  ['an empty Content-Length', `${head('content-length: \r\n')}${SMUGGLED}`],
  ['a Content-Length beyond every number', `${head('content-length: 99999999999999999999\r\n')}hello`],
  ['a Content-Length with a blank inside', `${head('content-length: 5 0\r\n')}hello`],
  ['a blank before the colon of Transfer-Encoding', `${head('transfer-encoding : chunked\r\n')}0\r\n\r\n`],
  ['a blank before the colon of Content-Length', `${head('content-length : 5\r\n')}hello`],
  ['a tab before the colon', `${head('content-length\t: 5\r\n')}hello`],
  ['Transfer-Encoding: identity', `${head('transfer-encoding: identity\r\n')}${SMUGGLED}`],
  ['Transfer-Encoding: xchunked', `${head('transfer-encoding: xchunked\r\n')}0\r\n\r\n`],
  ['Transfer-Encoding: chunked, identity', `${head('transfer-encoding: chunked, identity\r\n')}0\r\n\r\n`],
  ['Transfer-Encoding: gzip, chunked', `${head('transfer-encoding: gzip, chunked\r\n')}0\r\n\r\n`],
  ['Transfer-Encoding twice', `${head('transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n')}0\r\n\r\n`],
  ['chunked twice', `${head('transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n')}0\r\n\r\n${SMUGGLED}`],
  ['Transfer-Encoding with a vertical tab', `${head('transfer-encoding: \x0bchunked\r\n')}0\r\n\r\n`],
  ['Transfer-Encoding in HTTP/1.0', `${head('transfer-encoding: chunked\r\n', 'POST / HTTP/1.0')}0\r\n\r\n${SMUGGLED}`],
  ['a folded Transfer-Encoding', `${head('transfer-encoding:\r\n chunked\r\n')}0\r\n\r\n`],
  ['a NUL in a header value', head('content-length: 0\r\nx-a: b\x00c\r\n')],
  ['a NUL in a header name', head('content-length: 0\r\nx\x00a: b\r\n')],
  ['a bare CR in a header value', head('content-length: 0\r\nx-a: b\rx-b: c\r\n')],
  ['a header line without a colon', head('content-length: 0\r\nnonsense\r\n')],
  ['a header line that begins with a blank', `POST / HTTP/1.1\r\n host: ${HOST}\r\ncontent-length: 0\r\n\r\n`],
  ['an empty header name', head('content-length: 0\r\n: x\r\n')],
  ['two Host headers', head('host: other.localhost\r\ncontent-length: 0\r\n')],
  ['no Host header', 'GET / HTTP/1.1\r\n\r\n'],
  ['a Host with a path', 'GET / HTTP/1.1\r\nhost: hello.localhost/x\r\n\r\n'],
  ['a Host with an at sign', 'GET / HTTP/1.1\r\nhost: a@hello.localhost\r\n\r\n'],
  ['a Host list', 'GET / HTTP/1.1\r\nhost: hello.localhost, other\r\n\r\n'],
  ['an absolute target that names another host', `GET http://other.localhost/ HTTP/1.1\r\nhost: ${HOST}\r\n\r\n`],
  ['a target with a fragment', head('', 'GET /a#b HTTP/1.1')],
  ['a target with a control character', head('', 'GET /a\x01b HTTP/1.1')],
  ['an unknown version', head('', 'GET / HTTP/1.2')],
  ['HTTP/2.0 in a request line', head('', 'GET / HTTP/2.0')],
  ['HTTP/0.9 with headers', head('', 'GET / HTTP/0.9')],
  ['HTTP/0.9', 'GET /\r\n\r\n'],
  ['HTTP/2.0 with an upgrade', head('connection: upgrade\r\nupgrade: websocket\r\n', 'GET / HTTP/2.0')],
  ['HTTP/2 without negotiation', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
  ['an unknown method', head('', 'G\x00T / HTTP/1.1')],
  ['a chunk size that is no number', `${head('transfer-encoding: chunked\r\n')}zz\r\nhello\r\n0\r\n\r\n`],
  ['a chunk size with a prefix', `${head('transfer-encoding: chunked\r\n')}0x5\r\nhello\r\n0\r\n\r\n`],
  ['a negative chunk size', `${head('transfer-encoding: chunked\r\n')}-5\r\nhello\r\n0\r\n\r\n`],
  ['a chunk that is longer than it says', `${head('transfer-encoding: chunked\r\n')}5\r\nhelloXX\r\n0\r\n\r\n`],
  ['a chunk size beyond every number', `${head('transfer-encoding: chunked\r\n')}FFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n`],
  ['a header block that is too large', head(`content-length: 0\r\nx-a: ${'a'.repeat(70_000)}\r\n`)],
  [
    'an upgrade with a body',
    `${head('connection: upgrade\r\nupgrade: websocket\r\ncontent-length: 5\r\n', 'GET / HTTP/1.1')}hello${SMUGGLED}`,
  ],
  ['CONNECT', 'CONNECT hello.localhost:80 HTTP/1.1\r\nhost: hello.localhost:80\r\n\r\n'],
]

const REFUSALS = [400, 405, 408, 431, 505]

test.each(REFUSED)('I9: %s is refused', async (_name, bytes) => {
  const answer = await exchangeRaw(fixture.port, bytes)
  if (answer !== '') expect(statusOf(answer)).toBeGreaterThanOrEqual(400)
  expect([...REFUSALS, 0]).toContain(statusOf(answer))
  expect(app.received()).not.toContain('smuggled')
  for (const connection of app.connections) expect(connection.text.match(/HTTP\/1\.1/g)?.length ?? 0).toBeLessThanOrEqual(1)
})

/** Unusual, but with one meaning only: passed on in the edge's own clean form. */
const CLEANED: readonly [string, string, RegExp, RegExp | null][] = [
  ['a second blank in the request line', head('', 'GET  / HTTP/1.1'), /^GET \/ HTTP\/1\.1\r\n/, null],
  ['a chunk extension', `${head('transfer-encoding: chunked\r\n')}5;a=b\r\nhello\r\n0\r\n\r\n`, /\r\n5\r\nhello\r\n0\r\n\r\n$/, /a=b/],
  ['upper-case chunked', `${head('Transfer-Encoding: CHUNKED\r\n')}5\r\nhello\r\n0\r\n\r\n`, /transfer-encoding: chunked\r\n/, null],
  ['leading zeros in a length', `${head('content-length: 0005\r\n')}hello`, /content-length: 5\r\n\r\nhello$/, null],
  ['headers named in Connection', head('connection: x-a, close\r\nx-a: 1\r\nx-b: 2\r\ncontent-length: 0\r\n'), /x-b: 2/, /x-a/],
  [
    'hop-by-hop headers',
    head('keep-alive: 1\r\nproxy-connection: x\r\nte: trailers\r\nproxy-authorization: secret\r\ncontent-length: 0\r\n'),
    /host/,
    /proxy|te:|secret/,
  ],
  [
    'a forged Forwarded and X-Real-IP',
    head('forwarded: for=1.2.3.4\r\nx-real-ip: 1.2.3.4\r\ncontent-length: 0\r\n'),
    /x-forwarded-for: 127\.0\.0\.1\r\n/,
    /1\.2\.3\.4/,
  ],
  [
    'a forged X-Forwarded-Proto and -Host',
    head('x-forwarded-proto: https\r\nx-forwarded-host: evil\r\ncontent-length: 0\r\n'),
    /x-forwarded-proto: http\r\nx-forwarded-host: hello\.localhost\r\n/,
    /evil|https/,
  ],
  [
    'a chain of X-Forwarded-For',
    head('x-forwarded-for: 9.9.9.9\r\nx-forwarded-for: 8.8.8.8\r\ncontent-length: 0\r\n'),
    /x-forwarded-for: 9\.9\.9\.9, 8\.8\.8\.8, 127\.0\.0\.1\r\n/,
    null,
  ],
  [
    'forged names with underscores',
    head('x_forwarded_for: 6.6.6.6\r\nX_Real_Ip: 6.6.6.6\r\ncontent-length: 0\r\n'),
    /x-forwarded-for: 127\.0\.0\.1\r\n/,
    /6\.6\.6\.6/,
  ],
  [
    'an upgrade to HTTP/2 beside another',
    head('connection: upgrade\r\nupgrade: h2c, websocket, TLS/1.0, HTTP/2.0\r\n', 'GET / HTTP/1.1'),
    /upgrade: websocket\r\n/,
    /h2c|TLS|HTTP\/2/,
  ],
  ['a private probe header', head('x-shiplock-probe: guess\r\ncontent-length: 0\r\n'), /host/, /probe|guess/],
  ['an absolute target with the same host', `GET http://${HOST}/a?b HTTP/1.1\r\nhost: ${HOST}\r\n\r\n`, /^GET \/a\?b HTTP\/1\.1\r\n/, null],
  ['a GET with a body', `${head('content-length: 5\r\n', 'GET / HTTP/1.1')}hello`, /content-length: 5\r\n\r\nhello$/, null],
]

test.each(CLEANED)('I9: %s reaches the instance in one clean form', async (_name, bytes, wanted, unwanted) => {
  const answer = await exchangeRaw(fixture.port, bytes)
  expect(statusOf(answer)).toBe(200)
  const received = await app.connections[0]?.until(wanted)
  if (unwanted !== null) expect(received).not.toMatch(unwanted)
  expect(answer).not.toContain('x-shiplock-generation')
})

/** Answers of instances that two readers could understand differently. */
const BAD_ANSWERS: readonly [string, string][] = [
  ['bare LFs only', 'HTTP/1.1 200 OK\ncontent-length: 2\n\nok'],
  ['one bare LF', 'HTTP/1.1 200 OK\r\nx-a: b\ncontent-length: 2\r\n\r\nok'],
  ['the same length twice', 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nok'],
  ['a control byte in a value', 'HTTP/1.1 200 OK\r\nx-a: b\x01c\r\ncontent-length: 0\r\n\r\n'],
  ['HTTP/2 frames', Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]).toString('latin1')],
  ['both lengths', 'HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n'],
  ['two lengths', 'HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello'],
  ['a folded header', 'HTTP/1.1 200 OK\r\nx-a: b\r\n c\r\ncontent-length: 0\r\n\r\n'],
  ['a blank before a colon', 'HTTP/1.1 200 OK\r\ncontent-length : 5\r\n\r\nhello'],
  ['an unknown coding', 'HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n'],
  ['no HTTP at all', 'SSH-2.0-OpenSSH_9.2\r\n\r\n'],
  ['a bare CR in a value', 'HTTP/1.1 200 OK\r\nx-a: b\rset-cookie: c\r\ncontent-length: 0\r\n\r\n'],
  ['an unasked 101', 'HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n'],
  ['an endless header', `HTTP/1.1 200 OK\r\nx-a: ${'a'.repeat(140_000)}`],
]

describe.each(['GET', 'POST'])('to a %s', (method) => {
  test.each(BAD_ANSWERS)('I9: an answer with %s becomes 502 at once, with its reason, and is not asked for again', async (_name, bytes) => {
    const bad = await startRawApp(() => bytes)
    try {
      await fixture.edge.swap(swapTo([targetOf('bad', bad.port)]))
      const answer = await exchangeRaw(fixture.port, head(method === 'GET' ? '' : 'content-length: 0\r\n', `${method} / HTTP/1.1`))
      expect(statusOf(answer)).toBe(502)
      expect(answer).toContain('x-shiplock-error: instance-invalid')
      expect(answer).toMatch(/not valid HTTP: \S/)
      expect(bad.received().split('HTTP/1.1\r\n').length).toBe(2)
    } finally {
      await bad.close()
    }
  })
})

test('an answer whose head is too large is named so, and the log says which instance gave it', async () => {
  const bad = await startRawApp(() => `HTTP/1.1 200 OK\r\nx-a: ${'a'.repeat(120_000)}\r\n\r\n`)
  try {
    await fixture.edge.swap(swapTo([targetOf('large', bad.port)]))
    expect(await exchangeRaw(fixture.port, head('', 'GET / HTTP/1.1'))).toContain('its header is larger than 65536 bytes')
    expect(fixture.log()).toMatch(/ins_large/)
  } finally {
    await bad.close()
  }
})

test('a GET whose instance ends the connection each time is told so, not that it could not be reached', async () => {
  const bad = await startRawApp((connection) => {
    connection.socket.destroy()
    return null
  })
  try {
    await fixture.edge.swap(swapTo([targetOf('ends', bad.port)]))
    expect(await exchangeRaw(fixture.port, head('', 'GET / HTTP/1.1'))).toContain('x-shiplock-error: instance-failed')
  } finally {
    await bad.close()
  }
})

test('I10: a cookie for all apps of the server stays with the app that set it', async () => {
  const own = await startEdge({ workers: 1, cookieBase: 'localhost' })
  const tossing = await startRawApp(() => 'HTTP/1.1 200 OK\r\nset-cookie: a=1; Domain=localhost; Path=/\r\ncontent-length: 0\r\n\r\n')
  try {
    await own.edge.swap(swapTo([targetOf('toss', tossing.port)]))
    expect(await exchangeRaw(own.port, head('', 'GET / HTTP/1.1'))).toContain('set-cookie: a=1; Path=/\r\n')
  } finally {
    await tossing.close()
  }
})

test('I3, I15: bytes after an answer are not taken for the answer to the next request', async () => {
  const chatty = await startRawApp(() => `${OK}HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged`)
  try {
    await fixture.edge.swap(swapTo([targetOf('chatty', chatty.port)]))
    for (let count = 0; count < 3; count++) {
      const answer = await exchangeRaw(fixture.port, head('', 'GET / HTTP/1.1'))
      expect(answer).toContain('\r\n\r\nok')
      expect(answer).not.toContain('forged')
    }
    expect(chatty.connections.length).toBe(3)
  } finally {
    await chatty.close()
  }
})
