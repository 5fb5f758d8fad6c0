import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { instanceSpec } from '../../test/support/runtime-harness.ts'
import { FakeHost, FakeRuntime } from './fake.ts'

describe('FakeRuntime', () => {
  let host: FakeHost
  let runtime: FakeRuntime
  const spec = instanceSpec({ labels: { ...instanceSpec().labels } })
  const signal = new AbortController().signal
  beforeEach(() => {
    host = new FakeHost()
    runtime = new FakeRuntime({ host, respond: (started, _request, response) => response.end(started.labels.releaseId) })
  })
  afterEach(() => host.close())

  const ask = async () => {
    const status = await runtime.inspect(spec.id)
    if (status.state !== 'running') throw new Error('it should run')
    const response = await fetch(`http://127.0.0.1:${status.address.port}/`)
    return { status: response.status, body: await response.text() }
  }

  test('serves over HTTP, or says that it is not ready', async () => {
    await runtime.start(spec, 1, signal)
    expect(await ask()).toEqual({ status: 200, body: spec.labels.releaseId })
    host.faults.neverReady = true
    expect((await ask()).status).toBe(503)
  })

  test('a start whose reply is lost happened; the next finds it', async () => {
    host.faults.startLosesReply = 1
    await expect(runtime.start(spec, 1, signal)).rejects.toThrow(/reply/)
    expect((await runtime.start(spec, 1, signal)).state).toBe('running')
    expect(host.instances.get(spec.id)?.starts).toBe(1)
  })

  test('starts fail as often as told, and block until told otherwise', async () => {
    host.faults.startFails = 2
    for (let time = 0; time < 2; time++) await expect(runtime.start(spec, 1, signal)).rejects.toThrow(/refuses/)
    host.faults.startBlocks = new Promise(() => {})
    await expect(runtime.start(spec, 1, AbortSignal.timeout(10))).rejects.toThrow(/timeout/i)
    host.faults.startBlocks = null
    expect((await runtime.start(spec, 1, signal)).state).toBe('running')
  })

  test('instances exit by themselves, crash, and ignore SIGTERM', async () => {
    host.faults.exitAfterMs = 5
    host.faults.exitCode = 9
    await runtime.start(spec, 1, signal)
    expect(await runtime.waitForExit(spec.id, signal)).toMatchObject({ state: 'exited', exitCode: 9, stopped: false })
    host.faults.exitAfterMs = null
    host.faults.ignoresSigterm = true
    await runtime.start(spec, 1, signal)
    expect(await runtime.stop(spec.id, { timeoutMs: 5 }, 1)).toEqual({ killed: true, tookMs: 5 })
    await runtime.start(spec, 1, signal)
    await runtime.crash(spec.id, 3)
    expect(await runtime.inspect(spec.id)).toMatchObject({ exitCode: 3, stopped: false })
  })

  test('a stop whose reply is lost happened', async () => {
    await runtime.start(spec, 1, signal)
    host.faults.stopLosesReply = 1
    await expect(runtime.stop(spec.id, { timeoutMs: 5 }, 1)).rejects.toThrow(/reply/)
    expect(await runtime.inspect(spec.id)).toMatchObject({ state: 'exited', stopped: true })
  })
})
