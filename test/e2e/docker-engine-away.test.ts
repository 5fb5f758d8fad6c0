import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import type { DockerRuntime } from '../../src/runtimes/docker/docker-runtime.ts'
import { get, lines, never } from '../conformance/runtime-suite.ts'
import { type DockerHarness, dockerHarness, serverImage } from '../support/docker-harness.ts'
import { dockerdMissing, privateDockerd, type TestDockerd } from '../support/dockerd.ts'
import { eventually } from '../support/eventually.ts'

/** An engine that goes away and returns, as when the host's dockerd is restarted, is upgraded or crashes. */
describe.skipIf(dockerdMissing() !== null)('an engine that goes away', () => {
  let dockerd: TestDockerd
  beforeAll(async () => {
    dockerd = await privateDockerd()
  })
  afterAll(() => dockerd.remove())

  /** Each test leaves the engine running. */
  async function begun(): Promise<{ harness: DockerHarness; runtime: DockerRuntime }> {
    const harness = await dockerHarness(dockerd, await serverImage(dockerd))
    onTestFinished(async () => void (await harness.close()))
    return { harness, runtime: harness.runtime }
  }

  test('I1: what is unknown meanwhile is never said to be missing; who waits for an exit goes on waiting, and learns of it', async () => {
    const { harness, runtime } = await begun()
    const spec = harness.instanceSpec()
    await get(await runtime.start(spec, 1, never()), '/')
    let exit: unknown = null
    const waiting = runtime.waitForExit(spec.id, never()).then((status) => {
      exit = status
    })
    await dockerd.kill()
    for (const call of [
      () => runtime.inspect(spec.id),
      () => runtime.start(spec, 1, never()),
      () => runtime.stop(spec.id, { timeoutMs: 1000 }, 1),
      () => runtime.list(),
    ])
      await expect(call()).rejects.toMatchObject({ code: 'ENGINE_UNREACHABLE', info: { actor: 'retry' } })
    expect(await runtime.check(never())).toMatchObject({ ok: false, summary: expect.stringContaining('does not answer') })
    expect(exit).toBeNull()
    await dockerd.start()
    await waiting
    // The engine ended it with itself, and does not bring it back by itself: nobody has looked whether it is ready (I2).
    expect(exit).toMatchObject({ state: 'exited' })
    const again = await runtime.start(spec, 2, never())
    expect(await get(again, '/')).toContain(spec.id)
    await eventually(async () => (await lines(runtime, spec.id)).filter((line) => line.text === 'listening on 8080').length === 2)
  })

  test('a call that begins while it is away succeeds when it returns in time', async () => {
    const { harness } = await begun()
    await dockerd.stop()
    onTestFinished(() => dockerd.start())
    const patient = await harness.patient()
    const spec = harness.instanceSpec()
    const starting = patient.start(spec, 1, never())
    await dockerd.start()
    expect((await starting).state).toBe('running')
    await patient.close()
  })

  test('a task in an engine that is killed is told from one that ended, and runs again', async () => {
    const { harness, runtime } = await begun()
    const spec = harness.taskSpec({ command: 'echo begun; sleep 2; echo done' })
    let count = 0
    const running = runtime.runTask(
      spec,
      (line) => {
        if (line !== 'begun' || count++ > 0) return
        void dockerd.kill().then(() => dockerd.start())
      },
      1,
      never(),
    )
    const result = await running
    expect(result.timedOut).toBe(false)
    // Ended by the engine as it came back: a code of its own, never a success.
    if (result.exitCode !== 0) expect(result.exitCode).not.toBeNull()
    await runtime.removeTask(spec.id, 1)
  })
})

describe.skipIf(dockerdMissing() !== null)('an engine that keeps containers alive', () => {
  test('I1: instances serve on while it restarts, are found again, and nothing that they said is lost', async () => {
    const dockerd = await privateDockerd({ args: ['--live-restore'] })
    onTestFinished(() => dockerd.remove())
    const harness = await dockerHarness(dockerd, await serverImage(dockerd))
    onTestFinished(async () => void (await harness.close()))
    const { runtime } = harness
    const spec = harness.instanceSpec({
      startCommands: ['i=0; while [ $i -lt 60 ]; do i=$((i + 1)); echo "tick $i"; sleep 0.1; done', 'node server.mjs'],
    })
    const status = await runtime.start(spec, 1, never())
    await get(status, '/')
    await dockerd.kill()
    expect(await get(status, '/')).toContain(spec.id)
    await dockerd.start()
    expect(await runtime.inspect(spec.id)).toEqual(status)
    expect(await (await harness.reopen()).start(spec, 2, never())).toEqual(status)
    await eventually(async () => (await lines(harness.runtime, spec.id)).some((line) => line.text === 'tick 60'), { withinMs: 30_000 })
    const ticks = (await lines(harness.runtime, spec.id)).map((line) => line.text).filter((text) => text.startsWith('tick'))
    expect(ticks).toEqual(Array.from({ length: 60 }, (_, index) => `tick ${index + 1}`))
  })
})
