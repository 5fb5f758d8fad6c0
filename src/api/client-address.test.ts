import { BlockList } from 'node:net'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { clientAddress, holderOf, parseProxies } from './client-address.ts'

const proxies = parseProxies(['127.0.0.1', '10.0.0.0/8', 'fd00::/8']) ?? new BlockList()

describe('the address of a client', () => {
  test.each([
    ['203.0.113.9', undefined, '203.0.113.9'],
    ['203.0.113.9', '1.2.3.4', '203.0.113.9'],
    ['127.0.0.1', '1.2.3.4', '1.2.3.4'],
    ['::ffff:127.0.0.1', '::ffff:1.2.3.4', '1.2.3.4'],
    ['127.0.0.1', '6.6.6.6, 1.2.3.4', '1.2.3.4'],
    ['127.0.0.1', '6.6.6.6, 1.2.3.4, 10.9.9.9', '1.2.3.4'],
    ['127.0.0.1', '10.9.9.9', '10.9.9.9'],
    ['127.0.0.1', undefined, '127.0.0.1'],
    ['127.0.0.1', 'nonsense', '127.0.0.1'],
    ['127.0.0.1', '1.2.3.4, nonsense', '127.0.0.1'],
    ['fd00::1', '2001:db8::7', '2001:db8::7'],
    [undefined, '1.2.3.4', null],
  ])('of %s with X-Forwarded-For %s is %s', (peer, forwarded, expected) => {
    expect(clientAddress(peer, forwarded, proxies)).toBe(expected)
  })

  test('I9: no header makes it anything but an address, and an untrusted peer never anything but itself', () => {
    fc.assert(
      fc.property(fc.string(), (header) => {
        expect(clientAddress('203.0.113.9', header, proxies)).toBe('203.0.113.9')
        expect(clientAddress('127.0.0.1', header, proxies)).toMatch(/^[0-9a-fA-F.:]+$/)
      }),
    )
  })

  test('proxies are addresses and networks, nothing else', () => {
    for (const wrong of ['', 'localhost', '10.0.0.0/33', '::/129', '10.0.0.0/', '10.0.0.0/8/8', '10.0.0.0/-1']) {
      expect(parseProxies([wrong]), wrong).toBeNull()
    }
    expect(parseProxies([])).not.toBeNull()
  })
})

describe('what counts as one holder', () => {
  test.each([
    ['1.2.3.4', '1.2.3.4'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:DB8:1:2::6', '2001:db8:1:2::/64'],
    ['2001:0db8::1', '2001:db8:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    [null, 'unknown'],
  ])('%s → %s', (address, holder) => {
    expect(holderOf(address)).toBe(holder)
  })
})
