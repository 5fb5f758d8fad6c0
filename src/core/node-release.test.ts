import { expect, test } from 'vitest'
import { nodeSupport, TESTED_NODE_LINES } from './node-release.ts'

const NOW = Date.parse('2026-11-26')

test.each([
  ['v20.20.2', false, 'Node v20.20.2 has had no security fixes since 2026-04-30'],
  ['v25.1.0', false, 'Node v25.1.0 has had no security fixes since 2026-06-01'],
  ['v22.23.3', true, 'Node v22.23.3, supported until 2027-04-30'],
  ['v99.0.0', true, 'Node v99.0.0'],
  ['bun', true, 'Node bun'],
])('%s: supported %s', (version, isSupported, summary) => {
  expect(nodeSupport(version, NOW)).toEqual({ isSupported, summary })
})

test('every line that is tested is supported', () => {
  for (const line of TESTED_NODE_LINES) expect(nodeSupport(`v${line}.0.0`, NOW).isSupported).toBe(true)
})
