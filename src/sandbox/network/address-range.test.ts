import { expect, test } from 'vitest'
import { addressAt, drawnRanges, formatRange, nextOffset, offsetIn, overlaps, parseRange, routedRanges } from './address-range.ts'

const range = (text: string) => parseRange(text) ?? expect.unreachable(text)

test.each(['10.99.0.0/20', '192.168.4.0/24', '172.31.0.0/16', '10.0.0.32/27'])('%s is a range', (text) => {
  expect(formatRange(range(text))).toBe(text)
})

test.each(['', '10.99.0.0', '10.99.0.1/20', '10.0.0.0/8', '10.0.0.0/28', '10.0.0.256/24', '::/64', '10.99.0.0/20x'])(
  'I9: %j is no range',
  (text) => expect(parseRange(text)).toBeNull(),
)

test('ranges overlap when an address belongs to both', () => {
  expect(overlaps(range('10.64.0.0/20'), range('10.64.8.0/24'))).toBe(true)
  expect(overlaps(range('10.64.8.0/24'), range('10.64.0.0/20'))).toBe(true)
  expect(overlaps(range('10.64.0.0/20'), range('10.64.16.0/20'))).toBe(false)
})

test('every drawn range is tried once, and two seeds begin at different ones', () => {
  const all = [...drawnRanges(7)].map(formatRange)
  expect(new Set(all).size).toBe(1024)
  expect(all[0]).not.toBe([...drawnRanges(8)].map(formatRange)[0])
  expect(all.every((text) => /^10\.(6[4-9]|[7-9]\d|1[01]\d|12[0-7])\./.test(text))).toBe(true)
})

test('what the host routes is read from its routing tables, the default route left out', () => {
  const routes = [
    'default via 192.0.2.1 dev eth0',
    '10.8.0.0/24 dev tun0 proto kernel scope link src 10.8.0.2',
    'unreachable 10.64.16.0/20 metric 4000000000',
    'local 127.0.0.1 dev lo table local proto kernel scope host src 127.0.0.1',
    '10.9.0.7 via 192.0.2.9 dev eth0',
    'multipath nonsense',
  ]
  expect(routedRanges(routes.join('\n')).map(formatRange)).toEqual(['10.8.0.0/24', '10.64.16.0/20', '127.0.0.1/32', '10.9.0.7/32'])
})

test('I2: an address that was just given back is the last to be given again', () => {
  const small = range('10.0.0.32/27')
  const held = new Set<number>()
  const given: number[] = []
  for (let last = 0; ; last = given.at(-1) ?? 0) {
    const next = nextOffset(small, held, last)
    if (next === null) break
    held.add(next)
    given.push(next)
  }
  expect(given).toEqual(Array.from({ length: 15 }, (_, index) => 16 + index))
  held.delete(16)
  held.delete(20)
  expect(nextOffset(small, held, 16)).toBe(20)
  expect(addressAt(small, 20)).toBe('10.0.0.52')
  expect(offsetIn(small, '10.0.0.52')).toBe(20)
  expect(offsetIn(small, '10.0.0.64')).toBeNull()
})
