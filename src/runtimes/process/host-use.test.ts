import { expect, test } from 'vitest'
import { connectedPorts } from './host-use.ts'

const line = (local: string, remote: string, state: string, inode: string) =>
  `   0: ${local} ${remote} ${state} 00000000:00000000 00:00000000 00000000  1000        0 ${inode} 1 0000000000000000 20 4 30 10 -1`
const V4 = (port: number, address = '0100007F') => `${address}:${port.toString(16).toUpperCase().padStart(4, '0')}`
const table = (...lines: readonly string[]) => ['  sl  local_address …', ...lines].join('\n')

test('what an instance would miss in a network of its own are the loopback ports that it connected to', () => {
  const text = table(
    line(V4(40000), V4(5432), '01', '7'),
    line(V4(40001), V4(3306), '01', '8'),
    line(V4(40002), V4(6379), '0A', '7'),
    line(V4(40003), V4(443, '050200C0'), '01', '7'),
    line(V4(21000), V4(50000), '01', '7'),
    line(V4(40004, '0000000000000000FFFF00000100007F'), V4(11211, '0000000000000000FFFF00000100007F'), '01', '7'),
  )
  expect(connectedPorts(text, new Set(['7']), new Set([21000]))).toEqual([5432, 11211])
})
