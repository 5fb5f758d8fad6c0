import { describe, expect, test } from 'vitest'
import { LIMITS } from '../../core/limits.ts'
import { githubWebhook } from './github.ts'
import { readPayload } from './payload.ts'

const JSON_TYPE = { 'content-type': 'application/json' }
const read = (body: string | Buffer, headers = JSON_TYPE) => readPayload(headers, Buffer.from(body as string))

describe('I9: a payload is refused, with what to do about it,', () => {
  test.each([
    ['by its content type', 'payload=%7B%7D', { 'content-type': 'application/x-www-form-urlencoded' }],
    ['with parameters', 'payload=%7B%7D', { 'content-type': 'Application/X-WWW-Form-Urlencoded; charset=utf-8' }],
    ['by its look', 'payload=%7B%7D', { 'content-type': 'application/json' }],
    ['as text', '{}', { 'content-type': 'text/plain' }],
  ])('when it is form-encoded: %s', (_, body, headers) => {
    expect(() => read(body, headers)).toThrow(
      expect.objectContaining({ code: 'MEDIA_TYPE_UNSUPPORTED', hint: expect.stringContaining('application/json') }),
    )
  })

  test.each([
    ['empty', '', /empty/],
    ['no JSON', '{', /not JSON/],
    ['no object', '[]', /not an object/],
    ['null', 'null', /not an object/],
    ['text', '"push"', /not an object/],
    ['two documents', '{}{}', /not JSON/],
    ['no UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]), /not JSON in UTF-8/],
  ])('when it is %s', (_, body, message) => {
    expect(() => read(body)).toThrow(message)
  })

  test('I12: when it is nested too deeply, has too many parts, or is too large', () => {
    const nested = (depth: number) => `{"a":${'['.repeat(depth - 1)}${']'.repeat(depth - 1)}}`
    expect(() => read(nested(LIMITS.webhookDepth))).not.toThrow()
    expect(() => read(nested(LIMITS.webhookDepth + 1))).toThrow(/nested deeper/)
    expect(() => read(`{"a":[${'0,'.repeat(LIMITS.webhookNodes)}0]}`)).toThrow(/parts/)
    expect(() => read(Buffer.alloc(LIMITS.webhookBodyBytes + 1))).toThrow(/larger/)
  })
})

test('brackets, commas and escaped quotes inside of texts are not structure', () => {
  const text = `${'[{,'.repeat(200)}\\" \\\\`
  expect(read(JSON.stringify({ text, '"[[': 1 })).text('text')).toBe(text)
})

test('an other JSON type, or none, is read', () => {
  expect(read('{"a":1}', { 'content-type': 'application/vnd.host+json; charset=utf-8' }).integer('a')).toBe(1)
  expect(readPayload({}, Buffer.from('{"a":1}')).integer('a')).toBe(1)
})

test('only own keys count, and nothing reaches a prototype', () => {
  const fields = read('{"__proto__":{"ref":"refs/heads/main"},"constructor":{"prototype":{"isAdmin":true}}}')
  expect(fields.optionalText('ref')).toBeNull()
  expect(fields.optionalText('toString')).toBeNull()
  expect(({} as Record<string, unknown>).isAdmin).toBeUndefined()
  expect(fields.object('__proto__').text('ref')).toBe('refs/heads/main')
})

test('what is missing or of another type is named by its path, never by its content', () => {
  const fields = read('{"a":{"b":"text","n":1.5,"big":9007199254740993,"nothing":null}}')
  expect(() => fields.object('a').integer('b')).toThrow('webhook: payload.a.b is not a whole number')
  expect(() => fields.object('a').integer('n')).toThrow('payload.a.n is not a whole number')
  expect(() => fields.object('a').integer('big')).toThrow('payload.a.big')
  expect(() => fields.object('a').text('nothing')).toThrow('payload.a.nothing is not text')
  expect(() => fields.list('a')).toThrow('payload.a is not a list')
  expect(() => fields.object('z')).toThrow('payload.z is not an object')
  expect(fields.object('a').optionalBoolean('nothing')).toBeNull()
  const push = () => githubWebhook.parse({ 'x-github-event': 'push' }, Buffer.from('{"ref":"refs/heads/main","before":"\\u001b[2J"}'))
  expect(push).toThrow(/^webhook: payload.before is not a commit id$/)
})
