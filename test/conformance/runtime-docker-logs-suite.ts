import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { LIMITS } from '../../src/core/limits.ts'
import { printable } from '../../src/core/printable.ts'
import type { DockerRuntime } from '../../src/runtimes/docker/docker-runtime.ts'
import type { InstanceSpec } from '../../src/runtimes/runtime.ts'
import type { DockerHarness } from '../support/docker-harness.ts'
import { eventually } from '../support/eventually.ts'
import { lines, never } from './runtime-suite.ts'

/** Prints numbers forever, 50 at a time. */
const COUNTER = `i=0; while :; do n=$((i + 50)); while [ $i -lt $n ]; do i=$((i + 1)); echo "line $i"; done; sleep 0.02; done`

/** Output of containers, and one-off commands in them. */
export function dockerLogsSuite(make: () => Promise<DockerHarness>): void {
  describe('output and tasks of containers', () => {
    let harness: DockerHarness
    let runtime: DockerRuntime
    beforeEach(async () => {
      harness = await make()
      runtime = harness.runtime
    })
    afterEach(async () => expect(await harness.close()).toEqual([]))

    const ended = async (command: string): Promise<InstanceSpec> => {
      const spec = harness.instanceSpec({ startCommands: [command] })
      await runtime.start(spec, 1, never())
      await runtime.waitForExit(spec.id, never())
      return spec
    }

    test('I9: hostile output becomes harmless lines: escapes, bytes that are no text, lines without end', async () => {
      const long = LIMITS.logLineBytes * 5
      const spec = await ended(
        `printf 'a\\033[31mred\\033[0m\\n\\377\\376bytes\\n\\000zero\\rreturn\\r\\n\\n'; head -c ${long} /dev/zero | tr '\\0' x; printf '\\nno end'`,
      )
      const said = (await lines(runtime, spec.id)).map((line) => line.text)
      expect(said.slice(0, 2)).toEqual(['ared', '\ufffd\ufffdbytes'])
      expect(said.every((text) => text === printable(text))).toBe(true)
      expect(said.filter((text) => /^x+$/.test(text)).join('')).toBe('x'.repeat(long))
      expect(said.at(-1)).toBe('no end')
    })

    test('nothing is lost and nothing comes twice over restarts of the server, in the middle of the output', async () => {
      const spec = harness.instanceSpec({ startCommands: [COUNTER] })
      await runtime.start(spec, 1, never())
      let seen = 0
      for (let round = 0; round < 4; round++) {
        const wanted = seen + 100
        seen = await eventually(async () => {
          const count = (await lines(runtime, spec.id)).length
          return count > wanted ? count : false
        })
        runtime = (await harness.reopen()) as DockerRuntime
      }
      await runtime.stop(spec.id, { timeoutMs: 100 }, 1)
      // What the app's shell says of the sleep that was ended with it.
      const all = (await lines(runtime, spec.id)).filter((line) => line.text !== 'Terminated')
      expect(all.map((line) => line.text)).toEqual(all.map((_, index) => `line ${index + 1}`))
      expect(all.length).toBeGreaterThan(400)
      const times = all.map((line) => Date.parse(line.at))
      expect(times).toEqual([...times].sort((a, b) => a - b))
      const rest = await lines(runtime, spec.id, { after: all[99]?.offset ?? 0 })
      expect(rest[0]?.text).toBe('line 101')
    })

    test('what a task says comes as lines, its code is its own, and it is no instance', async () => {
      const said: string[] = []
      const spec = harness.taskSpec({ command: 'echo out; echo err >&2; exit 4' })
      expect(await runtime.runTask(spec, (line) => said.push(line), 1, never())).toMatchObject({
        exitCode: 4,
        timedOut: false,
        found: false,
      })
      expect(said.sort()).toEqual(['err', 'out'])
      expect(await runtime.list()).toEqual([])
      const again: string[] = []
      expect(await runtime.runTask(spec, (line) => again.push(line), 1, never())).toMatchObject({ exitCode: 4, found: true })
      expect(again.sort()).toEqual(['err', 'out'])
      await runtime.removeTask(spec.id, 1)
    })

    test('a task whose server lets go runs on, and the next server has its whole output and result', async () => {
      const letGo = new AbortController()
      const spec = harness.taskSpec({ command: 'for i in 1 2 3 4 5 6; do echo step $i; sleep 0.3; done' })
      const cut = runtime.runTask(spec, () => letGo.abort(new Error('the server stops')), 1, never(), letGo.signal)
      await expect(cut).rejects.toThrow('the server stops')
      const after = await harness.reopen()
      const said: string[] = []
      expect(await after.runTask(spec, (line) => said.push(line), 2, never())).toMatchObject({ exitCode: 0, timedOut: false })
      expect(said).toEqual([1, 2, 3, 4, 5, 6].map((step) => `step ${step}`))
      await after.removeTask(spec.id, 2)
    })

    test('a task that is canceled has ended when that is said, and runs again when asked again', async () => {
      const abort = new AbortController()
      const spec = harness.taskSpec({ command: 'echo begun; sleep 600' })
      await expect(runtime.runTask(spec, () => abort.abort(new Error('canceled by ada')), 1, abort.signal)).rejects.toThrow(
        'canceled by ada',
      )
      const quick = { ...spec, command: 'echo again' }
      expect(await runtime.runTask(quick, () => {}, 1, never())).toMatchObject({ exitCode: 0, found: false })
      await runtime.removeTask(spec.id, 1)
    })

    test('a task that takes too long is ended', async () => {
      const spec = harness.taskSpec({ command: 'sleep 600', timeoutMs: 500 })
      expect(await runtime.runTask(spec, () => {}, 1, never())).toMatchObject({ exitCode: null, timedOut: true })
      expect(await runtime.runTask(spec, () => {}, 1, never())).toMatchObject({ timedOut: true, found: true })
      await runtime.removeTask(spec.id, 1)
    })
  })
}
