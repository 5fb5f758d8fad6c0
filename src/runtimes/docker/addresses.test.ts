import { expect, test } from 'vitest'
import { nextAddress } from './addresses.ts'
import type { ProjectNetwork } from './networks.ts'

const NETWORK: ProjectNetwork = { name: 'n', alias: null, subnet: '10.1.2.240/28', gateway: '10.1.2.241' }

test('every address but network, gateway and broadcast is given out, in turn, before one comes again', () => {
  const seen: string[] = []
  let last: string | null = null
  for (let count = 0; count < 14; count++) {
    last = nextAddress(NETWORK, new Set(), last)
    seen.push(last ?? '')
  }
  expect(seen.slice(0, 13)).toEqual(Array.from({ length: 13 }, (_, index) => `10.1.2.${242 + index}`))
  expect(seen[13]).toBe('10.1.2.242')
})

test('I2: an address that is held is passed over; when all are, none is given', () => {
  const all = Array.from({ length: 13 }, (_, index) => `10.1.2.${242 + index}`)
  expect(nextAddress(NETWORK, new Set(['10.1.2.242', '10.1.2.243']), null)).toBe('10.1.2.244')
  expect(nextAddress(NETWORK, new Set(all), '10.1.2.250')).toBeNull()
  expect(nextAddress(NETWORK, new Set(all.slice(1)), '10.1.2.250')).toBe('10.1.2.242')
})

test('a last address of another network begins anew; what is no IPv4 subnet gives none', () => {
  expect(nextAddress(NETWORK, new Set(), '192.168.0.1')).toBe('10.1.2.242')
  for (const subnet of [null, '', 'fd00::/64', '10.0.0.0/31', '10.0.0.0', '300.1.1.0/24'])
    expect(nextAddress({ ...NETWORK, subnet }, new Set(), null), String(subnet)).toBeNull()
  expect(nextAddress({ ...NETWORK, subnet: '172.17.0.0/16', gateway: '172.17.0.1' }, new Set(), '172.17.0.255')).toBe('172.17.1.0')
})
