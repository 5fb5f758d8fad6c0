import { describe, expect, test } from 'vitest'
import { createHostGuard } from './host-guard.ts'
import type { Reach } from './outgoing.ts'

const signal = new AbortController().signal
/** Names and what they lead to. */
const NAMES: Readonly<Record<string, readonly string[]>> = {
  'public.example': ['93.184.216.34'],
  'git.corp.example': ['10.1.2.3'],
  'mixed.example': ['127.0.0.1', '93.184.216.34'],
  localhost: ['127.0.0.1', '::1'],
  'metadata.example': ['169.254.169.254'],
  'mapped.example': ['::ffff:127.0.0.1'],
  '2130706433': ['127.0.0.1'],
}
const guard = (reach: Reach, ...allowed: string[]) => createHostGuard({ reach, allowed }, async (name) => NAMES[name] ?? [])
const outcome = (reach: Reach, host: string, ...allowed: string[]) =>
  guard(reach, ...allowed)
    .resolve(host, signal)
    .catch((error: { code: string }) => error.code)

describe('where a git host or a registry may be', () => {
  test.each([
    ['localhost'],
    ['LOCALHOST.'],
    ['127.0.0.1'],
    ['127.8.8.8'],
    ['0.0.0.0'],
    ['[::1]'],
    ['[::]'],
    ['[::ffff:127.0.0.1]'],
    ['[::ffff:7f00:1]'],
    ['[::127.0.0.1]'],
    ['[::ffff:0:127.0.0.1]'],
    ['[64:ff9b::127.0.0.1]'],
    ['[64:ff9b:1::7f00:1]'],
    ['[2002:7f00:1::]'],
    ['[fe80::1]'],
    ['169.254.169.254'],
    ['168.63.129.16'],
    ['100.100.100.200'],
    ['metadata.example'],
    ['mapped.example'],
    ['2130706433'],
  ])('I9: %s is refused by default and where only the internet is called', async (host) => {
    expect([await outcome('private', host), await outcome('public', host)]).toEqual(['SOURCE_REFUSED', 'SOURCE_REFUSED'])
  })

  test.each([['10.1.2.3'], ['192.168.0.1'], ['172.31.0.1'], ['[fd12::1]'], ['[::ffff:10.0.0.1]'], ['[fec0::1]'], ['git.corp.example']])(
    '%s is called by default, and refused where only the internet is',
    async (host) => {
      expect(await outcome('private', host)).toHaveLength(1)
      expect(await outcome('public', host)).toBe('SOURCE_REFUSED')
    },
  )

  test.each([
    ['127.0.0.1', '127.0.0.1'],
    ['localhost', 'localhost'],
    ['localhost', '127.0.0.0/8'],
    ['[::ffff:127.0.0.1]', '127.0.0.1'],
    ['[::1]', '::1'],
    ['git.corp.example', '*.corp.example'],
    ['git.corp.example', '10.1.0.0/16'],
  ])('%s is called where %s is allowed', async (host, allowed) => {
    expect(await outcome('public', host, allowed)).not.toBe('SOURCE_REFUSED')
  })

  test.each([
    ['localhost', 'host'],
    ['git.corp.example', '*.example.org'],
    ['git.corp.example', 'corp.example'],
    ['127.0.0.1', '127.0.0.2'],
    ['metadata.example', '10.0.0.0/8'],
  ])('%s is not called because %s is allowed', async (host, allowed) => {
    expect(await outcome('public', host, allowed)).toBe('SOURCE_REFUSED')
  })

  test('of several addresses only the callable ones are connected to', async () => {
    expect(await outcome('private', 'mixed.example')).toEqual(['93.184.216.34'])
  })

  test('a name without an address is unreachable, not refused', async () => {
    expect(await outcome('any', 'nowhere.example')).toBe('SOURCE_UNREACHABLE')
  })

  test('a resolver that never answers is left when the work is canceled', async () => {
    const abort = new AbortController()
    const asked = createHostGuard({ reach: 'any', allowed: [] }, () => new Promise(() => {})).resolve('slow.example', abort.signal)
    abort.abort(new Error('canceled by a person'))
    await expect(asked).rejects.toThrow('canceled by a person')
  })
})
