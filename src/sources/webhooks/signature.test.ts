import { randomBytes } from 'node:crypto'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { hmacSha256, matchHmac, matchToken, parseHexDigest } from './signature.ts'

const compared: [number, number][] = []
vi.mock('node:crypto', async (load) => {
  const crypto = await load<typeof import('node:crypto')>()
  return {
    ...crypto,
    timingSafeEqual: (one: Buffer, other: Buffer) => {
      compared.push([one.length, other.length])
      return crypto.timingSafeEqual(one, other)
    },
  }
})
afterEach(() => void compared.splice(0))

describe('by construction, the time of a comparison says nothing', () => {
  const body = Buffer.from('tide')
  const keys = ['first', 'second']
  const good = hmacSha256('first', [body])
  const flipped = (at: number) => Buffer.from(good.map((byte, index) => (index === at ? byte ^ 1 : byte)))

  test('every key is compared over all 32 bytes, whichever fits and wherever the first wrong byte is', () => {
    for (const signature of [good, hmacSha256('second', [body]), flipped(0), flipped(31), randomBytes(32)]) {
      matchHmac([signature], keys, [body])
      expect(compared.splice(0)).toEqual([
        [32, 32],
        [32, 32],
      ])
    }
    expect(matchHmac([good], keys, [body])).toBe(0)
    expect(matchHmac([flipped(0)], keys, [body])).toBeNull()
  })

  test('tokens of any length are compared as digests, with every secret', () => {
    for (const given of ['', 's', 'secret', 'secres', 'secretsecret', 'x'.repeat(10_000)]) {
      matchToken(Buffer.from(given), ['secret', 'other'])
      expect(compared.splice(0)).toEqual([
        [32, 32],
        [32, 32],
      ])
    }
    expect(matchToken(Buffer.from('other'), ['secret', 'other'])).toBe(1)
    expect(matchToken(Buffer.from('others'), ['secret', 'other'])).toBeNull()
  })
})

test('a signature of another length is no match and no error', () => {
  expect(matchHmac([Buffer.alloc(0), Buffer.alloc(31), Buffer.alloc(64)], ['key'], ['body'])).toBeNull()
})

test('parts are signed as one text', () => {
  expect(hmacSha256('key', ['a', 'b', Buffer.from('c')])).toEqual(hmacSha256('key', ['abc']))
})

test('a hex digest is 64 digits and nothing else', () => {
  expect(parseHexDigest('ab'.repeat(32))).toEqual(Buffer.alloc(32, 0xab))
  for (const text of ['', 'ab'.repeat(31), 'ab'.repeat(33), `${'ab'.repeat(31)}a `, `${'ab'.repeat(32)}\n`, '０'.repeat(64)]) {
    expect(parseHexDigest(text)).toBeNull()
  }
})
