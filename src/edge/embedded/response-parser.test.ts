import fc from 'fast-check'
import { expect, test } from 'vitest'
import { LIMITS } from '../../core/limits.ts'
import { ResponseParser, type ResponseSink, ResponseSyntaxError } from './response-parser.ts'

/** What a sink was told, with neighbouring data joined, so that two ways of cutting the input compare equal. */
function parse(pieces: readonly Buffer[], options: { readonly method?: string; readonly closes?: boolean } = {}): string[] {
  const told: string[] = []
  const note = (kind: string, text: string) => {
    if (kind === 'data' && told.at(-1)?.startsWith('data ')) told.push(`${told.pop()}${text}`)
    else told.push(`${kind} ${text}`)
  }
  const sink: ResponseSink = {
    information: (status, headers) => note('information', `${status} ${headers.join('|')}`),
    head: (head) => note('head', `${head.status} ${head.reason} ${head.framing} ${head.isKeepAlive} ${head.rawHeaders.join('|')}`),
    data: (chunk) => note('data', chunk.toString('latin1')),
    end: (trailers) => note('end', trailers.join('|')),
    upgraded: (head, rest) => note('upgraded', `${head.status} ${rest.toString('latin1')}`),
  }
  const parser = new ResponseParser(sink)
  parser.begin(options.method ?? 'GET')
  for (const piece of pieces) parser.push(piece)
  if (options.closes === true) parser.close()
  return told
}
const whole = (text: string, options = {}) => parse([Buffer.from(text, 'latin1')], options)

test('a body of known length', () => {
  expect(whole('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello')).toEqual(['head 200 OK 5 true Content-Length|5', 'data hello', 'end '])
})

test('a chunked body with extensions and trailers', () => {
  const text = 'HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n2;a=b\r\nhe\r\n3\r\nllo\r\n0\r\nx-sum: 1\r\n\r\n'
  expect(whole(text)).toEqual(['head 200 OK chunked true transfer-encoding|Chunked', 'data hello', 'end x-sum|1'])
})

test('a body that ends with the connection', () => {
  expect(whole('HTTP/1.1 200 OK\r\n\r\nall', { closes: true })).toEqual(['head 200 OK close false ', 'data all', 'end '])
})

test.each([
  ['HEAD', 'HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n'],
  ['GET', 'HTTP/1.1 204 No Content\r\n\r\n'],
  ['GET', 'HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n'],
])('%s: %j has no body', (method, text) => {
  expect(whole(text, { method }).at(-1)).toBe('end ')
})

test('informational answers come before the answer', () => {
  expect(whole('HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n')).toEqual([
    'information 103 link|x',
    'head 200 OK 0 true content-length|0',
    'end ',
  ])
})

test('after 101 everything belongs to the tunnel', () => {
  expect(whole('HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n\x81\x00')).toEqual(['upgraded 101 \x81\x00'])
})

test('an empty reason and HTTP/1.0 without keep-alive', () => {
  expect(whole('HTTP/1.0 200\r\ncontent-length: 0\r\n\r\n')[0]).toBe('head 200  0 false content-length|0')
  expect(whole('HTTP/1.0 200 OK\r\nconnection: Keep-Alive\r\ncontent-length: 0\r\n\r\n')[0]).toContain(' 0 true ')
  expect(whole('HTTP/1.1 200 OK\r\nconnection: Close\r\ncontent-length: 0\r\n\r\n')[0]).toContain(' 0 false ')
})

test.each([
  ['both framings', 'HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n'],
  ['two lengths', 'HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n'],
  ['the same length twice', 'HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\n'],
  ['a length list', 'HTTP/1.1 200 OK\r\ncontent-length: 1, 1\r\n\r\n'],
  ['a signed length', 'HTTP/1.1 200 OK\r\ncontent-length: +1\r\n\r\n'],
  ['two codings', 'HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n'],
  ['a folded header', 'HTTP/1.1 200 OK\r\nx-a: b\r\n c\r\n\r\n'],
  ['a blank before the colon', 'HTTP/1.1 200 OK\r\nx-a : b\r\n\r\n'],
  ['a bare CR', 'HTTP/1.1 200 OK\r\nx-a: b\rc\r\n\r\n'],
  ['a NUL', 'HTTP/1.1 200 OK\r\nx-a: b\0c\r\n\r\n'],
  ['a bad status', 'HTTP/1.1 20 OK\r\n\r\n'],
  ['another version', 'HTTP/2.0 200 OK\r\n\r\n'],
  ['a bad chunk size', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0x1\r\na\r\n'],
  ['a long chunk', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nab\r\n'],
  ['bytes after the answer', 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n'],
  ['a header without end', `HTTP/1.1 200 OK\r\nx: ${'a'.repeat(LIMITS.requestHeaderBytes + 1)}`],
])('I9: %s is refused', (_name, text) => {
  expect(() => whole(text)).toThrow(ResponseSyntaxError)
})

test.each([
  ['a header with bare LFs', 'HTTP/1.1 200 OK\ncontent-length: 2\n\nok'],
  ['one bare LF', 'HTTP/1.1 200 OK\r\nx-a: b\nx-b'],
  ['a chunk size with a bare LF', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\nok\n'],
  ['trailers with bare LFs', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: y\n\n'],
  ['another protocol', '220 smtp ready'],
  ['HTTP/2', Buffer.from([0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100]).toString('latin1')],
  ['TLS', '\x15\x03\x01\x00\x02\x02\x46'],
])('I9: %s is refused at once, not waited for', (_name, text) => {
  expect(() => whole(text)).toThrow(ResponseSyntaxError)
  expect(() => parse([...text].map((character) => Buffer.from(character, 'latin1')))).toThrow(ResponseSyntaxError)
})

test.each([
  'HTTP/1.1 200 OK\r\n',
  'HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhell',
  'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n',
])('an end of the connection within %j is no end of the answer', (text) => {
  expect(() => whole(text, { closes: true })).toThrow(/ended within/)
})

const token = fc
  .stringMatching(/^[a-zA-Z-]{1,12}$/)
  .filter((name) => !/^(connection|keep-alive|content-length|transfer-encoding)$/i.test(name))
const headers = fc.array(fc.tuple(token, fc.stringMatching(/^[!-~]([ -~]{0,20}[!-~])?$/)), { maxLength: 5 })
const body = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes).toString('latin1'))
const sizes = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 30 })

function chunked(text: string, lengths: readonly number[]): string {
  let encoded = ''
  for (let at = 0, index = 0; at < text.length; index++) {
    const part = text.slice(at, at + (lengths[index % lengths.length] ?? 1))
    encoded += `${part.length.toString(16)}\r\n${part}\r\n`
    at += part.length
  }
  return `${encoded}0\r\n\r\n`
}

function cut(text: string, lengths: readonly number[]): Buffer[] {
  const bytes = Buffer.from(text, 'latin1')
  const pieces: Buffer[] = []
  for (let at = 0, index = 0; at < bytes.length; index++) {
    const length = lengths[index % lengths.length] ?? 1
    pieces.push(bytes.subarray(at, at + length))
    at += length
  }
  return pieces
}

test('I3: however the bytes of an answer are cut, the same answer is read, and its body is unchanged', () => {
  fc.assert(
    fc.property(headers, body, sizes, sizes, fc.boolean(), (fields, text, chunkSizes, cutSizes, isChunked) => {
      const lines = fields.map(([name, value]) => `${name}: ${value}\r\n`).join('')
      const framing = isChunked ? 'transfer-encoding: chunked\r\n' : `content-length: ${text.length}\r\n`
      const message = `HTTP/1.1 200 Fine\r\n${lines}${framing}\r\n${isChunked ? chunked(text, chunkSizes) : text}`
      const told = parse(cut(message, cutSizes))
      expect(told).toEqual(whole(message))
      expect(
        told
          .filter((line) => line.startsWith('data '))
          .join('')
          .slice(5),
      ).toBe(text)
      expect(told.at(-1)).toBe('end ')
    }),
  )
})

test('I9: random bytes are read or refused, never crash and never hang', () => {
  const noise = fc.array(
    fc.constantFrom('HTTP/1.1 200 OK', '\r\n', '\r', '\n', ':', ' ', '0', 'a', 'content-length: 3', 'transfer-encoding: chunked', '\0'),
  )
  fc.assert(
    fc.property(noise, sizes, (words, cutSizes) => {
      try {
        parse(cut(words.join(''), cutSizes), { closes: true })
      } catch (error) {
        expect(error).toBeInstanceOf(ResponseSyntaxError)
      }
    }),
  )
})
