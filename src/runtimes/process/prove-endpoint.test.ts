import { expect, test } from 'vitest'
import type { Listener } from './listening-ports.ts'
import { judgeEndpoint } from './prove-endpoint.ts'

const socket = (host: string, inode: string, port = 4000): Listener => ({ host, port, inode })
const judge = (listeners: readonly Listener[], own: readonly string[], more: { isHidden?: boolean; holder?: string | null } = {}) =>
  judgeEndpoint({ port: 4000, listeners, own: new Set(own), isHidden: more.isHidden ?? false, holder: () => more.holder ?? null }).kind

test.each([
  ['nobody listens', [], [], 'silent'],
  ['it listens on the loopback', [socket('127.0.0.1', '1')], ['1'], 'own'],
  ['it listens everywhere', [socket('0.0.0.0', '1')], ['1'], 'own'],
  ['it listens everywhere, IPv6 included', [socket('::', '1')], ['1'], 'own'],
  ['several workers of it share the port', [socket('127.0.0.1', '1'), socket('127.0.0.1', '2')], ['1', '2'], 'own'],
  ['somebody else listens', [socket('127.0.0.1', '9')], ['1'], 'foreign'],
  ['somebody else shares the port with it', [socket('127.0.0.1', '1'), socket('127.0.0.1', '9')], ['1'], 'foreign'],
  ['it listens everywhere and somebody else on the loopback', [socket('0.0.0.0', '1'), socket('127.0.0.1', '9')], ['1'], 'foreign'],
  ['somebody else listens on another port', [socket('127.0.0.1', '9', 4001), socket('127.0.0.1', '1')], ['1'], 'own'],
  ['somebody else listens where requests never go', [socket('192.0.2.1', '9'), socket('127.0.0.1', '1')], ['1'], 'own'],
] as const)('I15: %s', (_case, listeners, own, kind) => expect(judge(listeners, own)).toBe(kind))

test('I15: a process of its own that hides itself may hold the socket, but not when another is seen to', () => {
  expect(judge([socket('127.0.0.1', '9')], [], { isHidden: true })).toBe('own')
  expect(judge([socket('127.0.0.1', '9')], [], { isHidden: true, holder: 'alpha/production/thief' })).toBe('foreign')
})
