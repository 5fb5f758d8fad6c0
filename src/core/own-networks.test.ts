import { expect, test } from 'vitest'
import { innerNetworks } from './own-networks.ts'

const TABLE = `Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t0000A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
sl3b22831b06b1\t0010450A\t00000000\t0001\t0\t0\t0\t00F0FFFF\t0\t0\t0
wg0\t0000080A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
br0\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
sl3b22831b06b1\tnonsense\t00000000\t0001\t0\t0\t0\tnonsense\t0\t0\t0
`

test.each([
  ['10.69.16.20', true],
  ['10.69.31.255', true],
  ['172.17.0.2', true],
  ['10.69.32.1', false],
  ['192.168.0.7', false],
  ['192.168.1.7', false],
  ['10.8.0.1', false],
  ['1.1.1.1', false],
])('I10: %s is behind an interface of instances or containers: %s', (address, expected) => {
  expect(innerNetworks(TABLE).check(address, 'ipv4')).toBe(expected)
})

test('a table that says nothing knows no network', () => {
  for (const table of ['', 'Iface\n', '\n\n']) expect(innerNetworks(table).rules).toEqual([])
})
