import { describe, expect, test } from 'vitest'
import { isShiplockError } from './errors.ts'
import { checkUrl, isCallable, post } from './outgoing.ts'

describe('what may be called', () => {
  test.each([
    '127.0.0.1',
    '127.8.9.1',
    '0.0.0.0',
    '169.254.169.254',
    '168.63.129.16',
    '100.100.100.200',
    '224.0.0.1',
    '255.255.255.255',
    '::1',
    '::',
    'fe80::1',
    'fe80::1%eth0',
    'fd00:ec2::254',
    '::ffff:127.0.0.1',
    '::ffff:7f00:1',
    '0:0:0:0:0:ffff:a9fe:a9fe',
    '64:ff9b::7f00:1',
  ])('I9: %s only where everything may', (address) => {
    expect([isCallable(address, 'public'), isCallable(address, 'private'), isCallable(address, 'any')]).toEqual([false, false, true])
  })

  test.each(['10.1.2.3', '172.16.0.1', '192.168.1.1', '100.64.0.1', 'fd12::1', '::ffff:10.0.0.1'])('%s is private', (address) => {
    expect([isCallable(address, 'public'), isCallable(address, 'private')]).toEqual([false, true])
  })

  test.each(['93.184.216.34', '2606:2800:220:1::1', '172.32.0.1'])('%s is public', (address) =>
    expect(isCallable(address, 'public')).toBe(true),
  )
})

describe('an address that somebody enters', () => {
  test.each([
    'ftp://example.com/',
    'file:///etc/passwd',
    'https://user:pass@example.com/',
    'http://127.1/',
    'http://2130706433/',
    'http://0x7f.1/',
    'http://[::1]:80/',
    'http://localhost:4700/',
    'http://x.localhost/',
    'http://LOCALHOST./',
    'not a url',
  ])('I9: %s is refused before anything is resolved', (url) => {
    expect(() => checkUrl(url, 'private')).toThrow('the address is refused')
  })

  test('I9: a name that leads to this machine is refused at the connection', async () => {
    // Resolved by the hosts file; it does not look like the name of this machine.
    const refusal = await post({ url: 'http://ip6-localhost:9/', headers: {}, body: '', reach: 'private' }).catch((error: unknown) => error)
    const isUnknown = (refusal as NodeJS.ErrnoException).code === 'ENOTFOUND' || (refusal as NodeJS.ErrnoException).code === 'EAI_AGAIN'
    expect(isUnknown || isShiplockError(refusal, 'ADDRESS_REFUSED')).toBe(true)
  })
})

test('I10: instances and containers of this host are called under no reach but any, by whatever spelling', () => {
  const inner = (address: string) => address.startsWith('10.69.')
  for (const address of ['10.69.16.20', '::ffff:10.69.16.20', '64:ff9b::a45:1014']) {
    expect(isCallable(address, 'private', inner)).toBe(false)
    expect(isCallable(address, 'any', inner)).toBe(true)
  }
  expect(isCallable('10.70.0.1', 'private', inner)).toBe(true)
})
