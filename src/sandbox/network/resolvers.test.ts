import { expect, test } from 'vitest'
import { planResolvers } from './resolvers.ts'

const HOST = '10.64.0.1'
const plan = (own: string, resolved: string | null = null, local: readonly string[] = []) =>
  planResolvers(own, resolved, { host: HOST, isLocal: (address) => local.includes(address) })

test('resolvers elsewhere are asked as the host asks them', () => {
  expect(plan('nameserver 192.0.2.53\nsearch corp.example\noptions ndots:1\n')).toEqual({
    text: 'nameserver 192.0.2.53\nsearch corp.example\noptions ndots:1\n',
    forwardTo: null,
    linkLocal: [],
  })
})

test("systemd-resolved's stub takes only what comes over lo, so those behind it are asked", () => {
  const { text, forwardTo } = plan('nameserver 127.0.0.53\noptions edns0\n', 'nameserver 192.0.2.1\nnameserver 192.0.2.2\nsearch lan\n')
  expect({ text, forwardTo }).toEqual({ text: 'nameserver 192.0.2.1\nnameserver 192.0.2.2\nsearch lan\n', forwardTo: null })
})

test.each([
  ['on the loopback', 'nameserver 127.0.0.1\n', [], '127.0.0.1'],
  ['on another address of the host', 'nameserver 192.0.2.7\n', ['192.0.2.7'], '192.0.2.7'],
  ['that nobody names', '', [], '127.0.0.1'],
])('a resolver of the host itself %s is reached by way of its end of the link', (_where, own, local, forwardTo) => {
  expect(plan(own, null, local)).toEqual({ text: `nameserver ${HOST}\n`, forwardTo, linkLocal: [] })
})

test('a resolver at a link-local address, as clouds have it, is named so that only its port 53 is opened', () => {
  expect(plan('nameserver 169.254.169.254\n').linkLocal).toEqual(['169.254.169.254'])
})

test('resolvers with IPv6 addresses are left out', () => {
  expect(plan('nameserver 2001:db8::1\nnameserver 192.0.2.53\n').text).toBe('nameserver 192.0.2.53\n')
})
