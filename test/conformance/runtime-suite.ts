import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { isShiplockError } from '../../src/core/errors.ts'
import type { InstanceId } from '../../src/domain/ids.ts'
import type { InstanceLogLine, InstanceStatus, Runtime } from '../../src/runtimes/runtime.ts'
import { eventually } from '../support/eventually.ts'
import { type RuntimeHarness, instanceSpec as treeSpec, taskSpec as treeTask } from '../support/runtime-harness.ts'

export const never = () => new AbortController().signal

/** What every Runtime must do, whatever instances are to it. `real` = it runs real commands. */
export function runtimeSuite(name: string, make: () => Promise<RuntimeHarness>, real: boolean): void {
  describe(`runtime ${name}`, () => {
    let harness: RuntimeHarness
    let runtime: Runtime
    let instanceSpec: typeof treeSpec
    let taskSpec: typeof treeTask
    beforeEach(async () => {
      harness = await make()
      runtime = harness.runtime
      instanceSpec = harness.instanceSpec ?? treeSpec
      taskSpec = harness.taskSpec ?? treeTask
    })
    // The leak check: a test that leaves a process or a cgroup behind fails, whatever it was about.
    afterEach(async () => expect(await harness.close()).toEqual([]))

    test('starting twice gives one instance, at one address', async () => {
      const spec = instanceSpec()
      const [first, second] = await Promise.all([runtime.start(spec, 1, never()), runtime.start(spec, 1, never())])
      expect(first).toEqual(second)
      expect(first.state).toBe('running')
      expect(await runtime.list()).toHaveLength(1)
    })

    test('what is missing is missing, and stopping or removing it succeeds', async () => {
      const id = 'ins_nowhere' as InstanceId
      expect(await runtime.inspect(id)).toEqual({ state: 'missing' })
      expect((await runtime.stop(id, { timeoutMs: 1000 }, 1)).killed).toBe(false)
      await runtime.remove(id, 1)
      await runtime.removeTask('nowhere', 1)
      expect(await lines(runtime, id)).toEqual([])
      expect(await runtime.list()).toEqual([])
    })

    test('a stopped instance is told apart from one that crashed, and removing it twice succeeds', async () => {
      const spec = instanceSpec()
      await runtime.start(spec, 1, never())
      await runtime.stop(spec.id, { timeoutMs: 5000 }, 1)
      expect(await runtime.inspect(spec.id)).toMatchObject({ state: 'exited', stopped: true })
      await runtime.stop(spec.id, { timeoutMs: 5000 }, 1)
      await runtime.remove(spec.id, 1)
      await runtime.remove(spec.id, 1)
      expect(await runtime.inspect(spec.id)).toEqual({ state: 'missing' })
    })

    test('a stopped instance starts again', async () => {
      const spec = instanceSpec()
      await runtime.start(spec, 1, never())
      await runtime.stop(spec.id, { timeoutMs: 5000 }, 1)
      expect((await runtime.start(spec, 2, never())).state).toBe('running')
    })

    test('I6: a smaller fence than one it has seen is refused for start, stop and remove', async () => {
      const spec = instanceSpec()
      await runtime.start(spec, 5, never())
      for (const attempt of [
        () => runtime.start(spec, 4, never()),
        () => runtime.stop(spec.id, { timeoutMs: 1000 }, 4),
        () => runtime.remove(spec.id, 4),
      ]) {
        await expect(attempt()).rejects.toSatisfy((error) => isShiplockError(error, 'FENCED'))
      }
      expect((await runtime.inspect(spec.id)).state).toBe('running')
      await runtime.stop(spec.id, { timeoutMs: 5000 }, 6)
      await expect(runtime.start(spec, 5, never())).rejects.toSatisfy((error) => isShiplockError(error, 'FENCED'))
    })

    test('I5: a new runtime object on the same host finds the instance with its labels and address', async () => {
      const spec = instanceSpec()
      const before = await runtime.start(spec, 1, never())
      const after = await harness.reopen()
      expect(await after.inspect(spec.id)).toEqual(before)
      expect(await after.list()).toEqual([{ id: spec.id, labels: spec.labels, status: before }])
      expect(await after.start(spec, 1, never())).toEqual(before)
    })

    test('I6: fences are remembered over a restart of the server', async () => {
      const spec = instanceSpec()
      await runtime.start(spec, 7, never())
      const after = await harness.reopen()
      await expect(after.remove(spec.id, 6)).rejects.toSatisfy((error) => isShiplockError(error, 'FENCED'))
    })

    test('waiting for an exit ends when the instance is stopped, and gives up when told so', async () => {
      const spec = instanceSpec()
      await runtime.start(spec, 1, never())
      const exit = runtime.waitForExit(spec.id, never())
      const gaveUp = runtime.waitForExit(spec.id, AbortSignal.abort(new Error('enough'))).catch((error: Error) => error.message)
      expect(await gaveUp).toBe('enough')
      await runtime.stop(spec.id, { timeoutMs: 5000 }, 1)
      expect(await exit).toMatchObject({ state: 'exited', stopped: true })
    })

    test('a log continues after an offset without loss, over a restart of the instance', async () => {
      const spec = instanceSpec()
      await runtime.start(spec, 1, never())
      const first = await eventually(async () => orFalse(await lines(runtime, spec.id)))
      await runtime.stop(spec.id, { timeoutMs: 5000 }, 1)
      await runtime.start(spec, 1, never())
      const last = first.at(-1)?.offset ?? 0
      const all = await eventually(async () => ((await lines(runtime, spec.id)).length > first.length ? lines(runtime, spec.id) : false))
      const rest = await lines(runtime, spec.id, { after: last })
      expect([...first, ...rest].slice(0, all.length).map(offsetAndText)).toEqual(all.map(offsetAndText))
      const offsets = all.map((line) => line.offset)
      expect(offsets).toEqual([...offsets].sort((a, b) => a - b))
      // What the app prints while the end is looked for comes behind it.
      await eventually(async () => (await lines(runtime, spec.id, { tail: 1 })).length === 1)
    })

    test('following a log ends when the signal aborts', async () => {
      const spec = instanceSpec()
      await runtime.start(spec, 1, never())
      const abort = new AbortController()
      for await (const line of runtime.logs(spec.id, { after: null, tail: null, follow: true, signal: abort.signal })) {
        expect(line.text).not.toBe('')
        abort.abort()
      }
    })

    test('a task runs once for its id, and its result is found later', async () => {
      const spec = taskSpec({ command: 'echo once >> ran.txt; cat ran.txt' })
      const printed: string[] = []
      const first = await runtime.runTask(spec, (line) => printed.push(line), 1, never())
      expect(first).toMatchObject({ exitCode: 0, timedOut: false, found: false })
      expect(printed.join('\n')).toContain('once')
      const after = await harness.reopen()
      expect(await after.runTask(spec, () => {}, 1, never())).toMatchObject({ exitCode: 0, found: true })
      await expect(after.removeTask(spec.id, 0)).rejects.toSatisfy((error) => isShiplockError(error, 'FENCED'))
      await after.removeTask(spec.id, 1)
      expect(await after.runTask(spec, () => {}, 1, never())).toMatchObject({ found: false })
      await after.removeTask(spec.id, 1)
    })

    test('a command beside an instance that does not run is refused', async () => {
      const options = { timeoutMs: 1000, signal: never() }
      await expect(runtime.exec('ins_nowhere' as InstanceId, 'true', options)).rejects.toSatisfy((error) =>
        isShiplockError(error, 'CONFLICT'),
      )
    })

    test('instances of several deployments run side by side', async ({ skip }) => {
      if (!real) skip('by design: nothing real runs')
      const specs = [instanceSpec(), instanceSpec(), instanceSpec()]
      const started = await Promise.all(specs.map((spec) => runtime.start(spec, 1, never())))
      expect(new Set(started.map(addressOf)).size).toBe(3)
      const bodies = await Promise.all(started.map((status) => get(status, '/')))
      for (const [index, body] of bodies.entries()) expect(body).toContain(specs[index]?.id)
    })
  })
}

export async function lines(
  runtime: Runtime,
  id: InstanceId,
  options: { readonly after?: number; readonly tail?: number } = {},
): Promise<readonly InstanceLogLine[]> {
  const found: InstanceLogLine[] = []
  const all = { after: options.after ?? null, tail: options.tail ?? null, follow: false, signal: never() }
  for await (const line of runtime.logs(id, all)) found.push(line)
  return found
}

/** Asks an instance over HTTP, waiting until it listens. */
export function get(status: InstanceStatus, path: string): Promise<string> {
  return eventually(async () => (await fetch(`http://${addressOf(status)}${path}`)).text(), { withinMs: 30_000 })
}

export function addressOf(status: InstanceStatus): string {
  if (status.state !== 'running') throw new Error(`the instance does not run: ${JSON.stringify(status)}`)
  return `${status.address.host}:${status.address.port}`
}

export function portOf(status: InstanceStatus): number {
  if (status.state !== 'running') throw new Error(`the instance does not run: ${JSON.stringify(status)}`)
  return status.address.port
}

function orFalse<Value>(values: readonly Value[]): readonly Value[] | false {
  return values.length > 0 ? values : false
}

function offsetAndText(line: InstanceLogLine) {
  return { offset: line.offset, text: line.text }
}
