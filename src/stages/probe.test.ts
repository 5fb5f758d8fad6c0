import { getEventListeners } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { systemClock } from '../core/clock.ts'
import type { InstanceId } from '../domain/ids.ts'
import type { Probe } from '../domain/service-config.ts'
import type { Runtime } from '../runtimes/runtime.ts'
import { probeOnce } from './probe.ts'

/** What a probe asks of a runtime, beside the app itself. */
const RUNTIME = { proveEndpoint: async () => ({ kind: 'own' }) } as unknown as Runtime

const HTTP: Probe = { kind: 'httpGet', path: '/', port: null, host: null, scheme: 'http', expectStatus: null }

test.each<readonly [string, Probe]>([
  ['tcp', { kind: 'tcp', port: null }],
  ['http', HTTP],
])('a %s probe leaves nothing on the signal of a watch that goes on for months', async (_kind, probe) => {
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.end('HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n')
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void server.close())
  const { port } = server.address() as AddressInfo
  const { signal } = new AbortController()
  const shared = { instanceId: 'ins_a' as InstanceId, timeoutMs: 5000, runtime: RUNTIME, clock: systemClock, signal, probe }
  for (let round = 0; round < 15; round++) {
    // One that passes, one that is refused.
    expect((await probeOnce({ ...shared, address: { host: '127.0.0.1', port } })).outcome).toBe('passed')
    expect((await probeOnce({ ...shared, address: { host: '127.0.0.1', port: 1 } })).outcome).toBe('failed')
  }
  expect(getEventListeners(signal, 'abort')).toEqual([])
})

test('an abort ends a probe at once', async () => {
  const abort = new AbortController()
  const silent = probeOnce({
    probe: { kind: 'tcp', port: null },
    address: { host: '127.0.0.1', port: 1 },
    instanceId: 'ins_a' as InstanceId,
    timeoutMs: 60_000,
    runtime: RUNTIME,
    clock: systemClock,
    signal: abort.signal,
  })
  abort.abort(new Error('enough'))
  await expect(silent).rejects.toThrow('enough')
})
