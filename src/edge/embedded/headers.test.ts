import fc from 'fast-check'
import { expect, test } from 'vitest'
import { connectionTokens, earlyHints, forwardedHeaderLines, requestHead, responseHeaders, safeTrailers } from './headers.ts'

const context = { clientAddress: '10.0.0.7', protocol: 'http', host: 'Hello.localhost:8080', listenPort: 8080 } as const
const EDGE_LINES =
  'x-forwarded-for: 10.0.0.7\r\nx-forwarded-proto: http\r\nx-forwarded-host: Hello.localhost:8080\r\nx-forwarded-port: 8080\r\n'

test('end-to-end headers keep their order, case and repetitions; Host is as the client wrote it', () => {
  const lines = forwardedHeaderLines(['Accept', 'a', 'X-A', '1', 'x-a', '2', 'Cookie', 'c=1'], undefined, context)
  expect(lines).toBe(`host: Hello.localhost:8080\r\nAccept: a\r\nX-A: 1\r\nx-a: 2\r\nCookie: c=1\r\n${EDGE_LINES}`)
})

test.each(['Connection', 'Keep-Alive', 'TE', 'Transfer-Encoding', 'Content-Length', 'Upgrade', 'Proxy-Connection', 'Proxy-Authorization'])(
  '%s belongs to one connection and is not passed on',
  (name) => {
    expect(forwardedHeaderLines([name, 'x'], undefined, context)).toBe(`host: Hello.localhost:8080\r\n${EDGE_LINES}`)
  },
)

test('headers that Connection names go with it, in whatever case', () => {
  const lines = forwardedHeaderLines(['X-Private', '1', 'x-public', '2'], 'X-PRIVATE , close', context)
  expect(lines).not.toContain('X-Private')
  expect(lines).toContain('x-public: 2')
})

test('Connection can not strip what the edge says', () => {
  const lines = forwardedHeaderLines(['x-forwarded-for', '1.1.1.1'], 'x-forwarded-for, x-forwarded-proto, host', context)
  expect(lines).toContain('host: Hello.localhost:8080\r\n')
  expect(lines).toContain('x-forwarded-for: 1.1.1.1, 10.0.0.7\r\nx-forwarded-proto: http\r\n')
})

test('tokens of Connection are split, trimmed and lower-cased; keep-alive and close are no header names', () => {
  expect(connectionTokens(undefined)).toEqual([])
  expect(connectionTokens('keep-alive')).toEqual([])
  expect(connectionTokens('Close, X-A ,,keep-alive')).toEqual(['x-a'])
})

test.each([
  ['none', 'connection: keep-alive\r\n\r\n'],
  ['chunked', 'connection: keep-alive\r\ntransfer-encoding: chunked\r\n\r\n'],
  [12, 'connection: keep-alive\r\ncontent-length: 12\r\n\r\n'],
] as const)('a body framed %s is framed by the edge itself', (framing, end) => {
  expect(requestHead('POST', '/a?b', 'host: x\r\n', framing, null)).toBe(`POST /a?b HTTP/1.1\r\nhost: x\r\n${end}`)
})

test('an upgrade names itself in Connection', () => {
  expect(requestHead('GET', '/', '', 'none', 'websocket')).toBe('GET / HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n')
})

test('answers lose hop-by-hop headers, what Connection names, and what only the edge may say', () => {
  const raw = ['Server', 's', 'Connection', 'x-hop', 'x-hop', '1', 'Set-Cookie', 'a', 'Set-Cookie', 'b', 'X-Shiplock-Generation', '9']
  expect(responseHeaders([...raw, 'x-shiplock-error', 'fake', 'Keep-Alive', 'timeout=5'], 'x-hop', false, null)).toEqual([
    'Server',
    's',
    'Set-Cookie',
    'a',
    'Set-Cookie',
    'b',
  ])
})

test('Trailer stays only where trailers can follow', () => {
  expect(responseHeaders(['Trailer', 'x-sum'], undefined, true, null)).toEqual(['Trailer', 'x-sum'])
  expect(responseHeaders(['Trailer', 'x-sum'], undefined, false, null)).toEqual([])
})

test('trailers may not frame, route or authenticate', () => {
  const raw = ['X-Sum', '1', 'Content-Length', '5', 'transfer-encoding', 'x', 'Host', 'h', 'Authorization', 'a', 'X-Forwarded-For', 'f']
  expect(safeTrailers(raw)).toEqual([['X-Sum', '1']])
})

test.each([
  'X-Real-IP',
  'Forwarded',
  'X-Shiplock-Probe',
  'X-Shiplock-Error',
  'X-Shiplock-Generation',
  'X_Real_IP',
  'Proxy-Connection',
  'Cache-Control',
])('I9: %s is no trailer, as it is no header', (name) => expect(safeTrailers([name, 'x', 'X-Sum', '1'])).toEqual([['X-Sum', '1']]))

test('I9: a name written with underscores says no more than the one with dashes', () => {
  const lines = forwardedHeaderLines(
    ['X_Forwarded_For', '6.6.6.6', 'X-Real_IP', '6.6.6.6', 'Content_Length', '9', 'x_shiplock_probe', 'p', 'my_header', 'kept'],
    undefined,
    context,
  )
  expect(lines).toContain('my_header: kept')
  expect(lines).not.toMatch(/6\.6\.6\.6|Content_Length|probe/)
})

test('all links of early hints go out as they came, and nothing else', () => {
  expect(earlyHints(['Link', '</a>; rel=preload, </b>; rel="pre load"', 'X-A', 'b', 'link', '<c>'])).toBe(
    'HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload, </b>; rel="pre load"\r\nlink: <c>\r\n\r\n',
  )
  expect(earlyHints(['X-A', 'b'])).toBe('')
})

test('I9: whatever headers come in, exactly one Host, one X-Forwarded-For and one framing go out', () => {
  const name = fc.constantFrom('Host', 'X-Forwarded-For', 'x-forwarded-host', 'Content-Length', 'Transfer-Encoding', 'X-A', 'Forwarded')
  const pairs = fc.array(fc.tuple(name, fc.constantFrom('1', 'chunked', 'evil'))).map((list) => list.flat())
  fc.assert(
    fc.property(pairs, (raw) => {
      const head = requestHead('POST', '/', forwardedHeaderLines(raw, undefined, context), 3, null).toLowerCase()
      for (const only of ['host', 'x-forwarded-for', 'x-forwarded-host', 'content-length']) {
        expect(head.split(`\r\n${only}: `).length, only).toBe(2)
      }
      expect(head).not.toContain('transfer-encoding')
      expect(head).not.toContain('\r\nforwarded')
    }),
  )
})
