import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { isShiplockError } from '../../src/core/errors.ts'
import { LIMITS } from '../../src/core/limits.ts'
import type { Digest, InstanceId } from '../../src/domain/ids.ts'
import type { DockerRuntime } from '../../src/runtimes/docker/docker-runtime.ts'
import type { InstanceSpec, InstanceStatus } from '../../src/runtimes/runtime.ts'
import { type DockerHarness, imageOf } from '../support/docker-harness.ts'
import { sharedDockerd } from '../support/dockerd.ts'
import { eventually } from '../support/eventually.ts'
import { APPS, LABELS } from '../support/runtime-harness.ts'
import { addressOf, get, lines, never } from './runtime-suite.ts'

/** What containers bring with them: limits, confinement, networks, images, and apps that do not do what is expected of them. */
export function dockerSuite(make: () => Promise<DockerHarness>): void {
  describe('instances in containers', () => {
    let harness: DockerHarness
    let runtime: DockerRuntime
    beforeEach(async () => {
      harness = await make()
      runtime = harness.runtime
    })
    afterEach(async () => expect(await harness.close()).toEqual([]))

    const running = async (overrides: Partial<InstanceSpec> = {}): Promise<{ spec: InstanceSpec; status: InstanceStatus }> => {
      const spec = harness.instanceSpec(overrides)
      return { spec, status: await runtime.start(spec, 1, never()) }
    }
    const inside = (id: InstanceId, command: string, timeoutMs = 20_000) => runtime.exec(id, command, { timeoutMs, signal: never() })
    const texts = async (id: InstanceId) => (await lines(runtime, id)).map((line) => line.text)
    /** A service of its own in a project and environment. */
    const labels = (title: string) => ({ ...LABELS, projectId: `prj_${title.split('/')[0]}` as typeof LABELS.projectId, title })

    test('I10: it has no more than it needs: capabilities, privileges, processes, memory, cpu, no engine socket', async () => {
      const { spec } = await running({ cpu: 'shared-2x', memoryMb: 128 })
      const status = (await inside(spec.id, 'cat /proc/1/status')).output
      // CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, NET_BIND_SERVICE
      expect(/CapBnd:\s*(\w+)/.exec(status)?.[1]).toBe('00000000000004fb')
      expect(/NoNewPrivs:\s*(\d)/.exec(status)?.[1]).toBe('1')
      expect((await inside(spec.id, 'ls /var/run/docker.sock /run/docker.sock')).exitCode).not.toBe(0)
      const { HostConfig } = await harness.engine.json<{ HostConfig: Record<string, unknown> }>(
        'GET',
        `/containers/shiplock-${runtime.owner}-${spec.id}/json`,
      )
      expect(HostConfig).toMatchObject({
        Memory: 128 * 1024 ** 2,
        MemorySwap: 128 * 1024 ** 2,
        NanoCpus: 2e9,
        CpuShares: 2048,
        PidsLimit: LIMITS.pidsPerInstance,
        Privileged: false,
        RestartPolicy: { Name: 'no' },
      })
    })

    test('an app that takes more than its memory is reported as out of memory', async () => {
      const { spec } = await running({ env: { MODE: 'eats-memory' }, memoryMb: 96 })
      expect(await runtime.waitForExit(spec.id, never())).toMatchObject({
        state: 'exited',
        outOfMemory: true,
        stopped: false,
        signal: 'SIGKILL',
      })
    })

    test('a fork bomb stays within its bound', async () => {
      const { spec, status } = await running()
      await get(status, '/')
      await inside(spec.id, 'for i in $(seq 2000); do sleep 60 & done 2>/dev/null; true', 5000)
      const count = await harness.engine.json<{ Processes: unknown[] }>('GET', `/containers/shiplock-${runtime.owner}-${spec.id}/top`)
      expect(count.Processes.length).toBeLessThanOrEqual(LIMITS.pidsPerInstance)
      expect((await runtime.inspect(spec.id)).state).toBe('running')
    })

    test('I10: siblings find each other by service name; other projects and other environments are out of reach', async () => {
      const [api, db] = await Promise.all([
        running({ labels: labels('shop/production/api') }),
        running({ labels: labels('shop/production/db') }),
      ])
      const [staging, other] = await Promise.all([
        running({ labels: labels('shop/staging/db') }),
        running({ labels: labels('bank/production/db') }),
      ])
      await Promise.all([api, db, staging, other].map(({ status }) => get(status, '/')))
      const ask = (from: InstanceId, host: string) =>
        inside(from, `node -e 'fetch("http://${host}/", { signal: AbortSignal.timeout(3000) }).then((r) => r.text()).then(console.log)'`)
      expect(await ask(api.spec.id, 'db:8080')).toMatchObject({ exitCode: 0, output: expect.stringContaining(db.spec.id) })
      for (const { status } of [staging, other]) expect(await ask(api.spec.id, addressOf(status))).toMatchObject({ exitCode: 1 })
      expect(await ask(other.spec.id, 'api:8080')).toMatchObject({ exitCode: 1, output: expect.stringContaining('ENOTFOUND') })
    })

    test('an OCI runtime that the engine does not have is refused, with those that it has', async () => {
      const refused = runtime.start(harness.instanceSpec({ ociRuntime: 'runsc' }), 1, never())
      await expect(refused).rejects.toMatchObject({
        code: 'LAUNCH_FAILED',
        message: expect.stringContaining('no runtime runsc'),
        hint: expect.stringContaining('runc'),
      })
      expect((await running({ ociRuntime: 'runc' })).status.state).toBe('running')
    })

    test('an app that exits at once: its code and last lines', async () => {
      const { spec } = await running({ startCommands: ['echo first; echo last words >&2; exit 7'] })
      expect(await runtime.waitForExit(spec.id, never())).toMatchObject({
        state: 'exited',
        exitCode: 7,
        stopped: false,
        outOfMemory: false,
      })
      expect((await texts(spec.id)).sort()).toEqual(['first', 'last words'])
    })

    test('an image without CMD and without run.start is refused; so is a program or shell that it lacks', async () => {
      const dockerd = await sharedDockerd()
      const empty = await imageOf(dockerd, 'shiplock-test/empty:1', 'FROM scratch\nCOPY server.mjs /\n')
      const refused = (spec: Partial<InstanceSpec>) => runtime.start(harness.instanceSpec({ artifact: empty, ...spec }), 1, never())
      await expect(refused({})).rejects.toMatchObject({
        code: 'LAUNCH_FAILED',
        message: expect.stringContaining('neither CMD nor ENTRYPOINT'),
      })
      // The engine's own init is there in every image, so it is the one to say what is not.
      const wrong = await imageOf(dockerd, 'shiplock-test/wrong:1', 'FROM scratch\nCOPY server.mjs /\nCMD ["/no/such"]\n')
      for (const [spec, program] of [
        [{ artifact: empty, startCommands: ['true'] }, '/bin/sh'],
        [{ artifact: wrong }, '/no/such'],
      ] as const) {
        const { spec: started } = await running(spec)
        expect(await runtime.waitForExit(started.id, never())).toMatchObject({ state: 'exited', exitCode: 127 })
        expect((await texts(started.id)).join()).toContain(`exec ${program} failed: No such file or directory`)
      }
    })

    test('I7: what runs is the digest, not what a tag means by now; an image that is gone is said to be', async () => {
      const dockerd = await sharedDockerd()
      const first = await imageOf(dockerd, 'shiplock-test/moving:1', 'FROM shiplock-test/busybox:1\nCMD ["echo", "one"]\n')
      await imageOf(dockerd, 'shiplock-test/moving:1', 'FROM shiplock-test/busybox:1\nCMD ["echo", "two"]\n')
      const { spec } = await running({ artifact: first })
      await runtime.waitForExit(spec.id, never())
      expect(await texts(spec.id)).toEqual(['one'])
      const gone = { ...first, digest: `sha256:${'0'.repeat(64)}` as Digest }
      await expect(running({ artifact: gone })).rejects.toMatchObject({
        code: 'LAUNCH_FAILED',
        message: expect.stringContaining('moving:1'),
      })
    })

    test('an app that listens on loopback, or on another port, or not at all: it is said', async () => {
      const loopback = await running({ env: { HOST: '127.0.0.1' }, port: 4000 })
      const other = await running({ startCommands: ['PORT=4001 node server.mjs'], port: 4000 })
      const silent = await running({ startCommands: ['sleep 600'], port: 4000 })
      const right = await running({ port: 4000 })
      const said = (id: InstanceId, expected: RegExp) =>
        eventually(async () => expected.test((await runtime.diagnose(id)).join()), { withinMs: 30_000 })
      await said(loopback.spec.id, /^listens on 127\.0\.0\.1:4000 inside the container, not on all interfaces/)
      await said(other.spec.id, /^listens on 0\.0\.0\.0:4001 inside the container, not on PORT 4000/)
      await said(silent.spec.id, /^listens on no port inside the container; PORT is 4000$/)
      await get(right.status, '/')
      expect(await runtime.diagnose(right.spec.id)).toEqual([])
    })

    test('an app that ignores SIGTERM is killed after the time-out, and it is reported', async () => {
      const { spec, status } = await running({ env: { MODE: 'ignores-sigterm' } })
      await get(status, '/')
      expect(await runtime.stop(spec.id, { timeoutMs: 300 }, 1)).toMatchObject({ killed: true })
      expect(await runtime.inspect(spec.id)).toMatchObject({ state: 'exited', stopped: true, signal: 'SIGKILL' })
    })

    test('SIGTERM reaches the app below its shell, one command or several, and what it says last is kept', async () => {
      const one = await running({ startCommands: ['true; node server.mjs'] })
      const several = await running({ startCommands: ['node server.mjs', 'sleep 600'] })
      for (const { spec, status } of [one, several]) {
        await get(status, '/')
        expect((await runtime.stop(spec.id, { timeoutMs: 20_000 }, 1)).killed).toBe(false)
        expect(await texts(spec.id)).toContain('asked to stop')
      }
      expect(await runtime.inspect(one.spec.id)).toMatchObject({ state: 'exited', exitCode: 0, stopped: true })
    })

    test('I8, I9: variables arrive exactly; names that no process can carry are refused by name', async () => {
      const env = {
        LINES: 'one\ntwo\n\nfour\n',
        QUOTES: `it's "quoted" \`and\` $HOME $(id)`,
        EQUALS: '=a=b=',
        EMPTY: '',
        UNICODE: 'Grüße 🚢',
      }
      const { spec, status } = await running({ env })
      expect(JSON.parse(await get(status, '/env'))).toMatchObject({ ...env, PORT: '8080', SHIPLOCK_INSTANCE: spec.id })
      for (const bad of ['a b', 'x\ny', '1st', 'a=b', ''])
        await expect(running({ env: { [bad]: 'x' } })).rejects.toSatisfy(
          (error) => isShiplockError(error, 'INPUT_INVALID') && error.message.includes(JSON.stringify(bad)),
        )
    })

    test('I9: an id or a name that is none for a container never reaches the engine', async () => {
      for (const id of ['../x', 'ins_A', 'ins_a b', 'ins_', `ins_${'a'.repeat(200)}`])
        await expect(runtime.inspect(id as InstanceId)).rejects.toSatisfy((error) => isShiplockError(error, 'INTERNAL'))
      await expect(runtime.removeTask('../x', 1)).rejects.toSatisfy((error) => isShiplockError(error, 'INTERNAL'))
      const { status } = await running({ labels: labels('Ünïcode Shop!/prod uction/../etc') })
      expect(status.state).toBe('running')
    })

    test('a command inside: its code, its output, its end after the time-out', async () => {
      const { spec, status } = await running({ env: { COLOR: 'blue' } })
      await get(status, '/')
      expect(await inside(spec.id, 'echo $COLOR; exit 3')).toEqual({ exitCode: 3, timedOut: false, output: 'blue' })
      expect(await inside(spec.id, 'echo err >&2')).toEqual({ exitCode: 0, timedOut: false, output: 'err' })
      expect(await inside(spec.id, 'echo begun; sleep 987 & sleep 987', 1500)).toMatchObject({
        exitCode: null,
        timedOut: true,
        output: 'begun',
      })
      await eventually(async () => !(await inside(spec.id, 'ps')).output.includes('sleep 987'))
      const abort = AbortSignal.abort(new Error('enough'))
      await expect(runtime.exec(spec.id, 'true', { timeoutMs: 1000, signal: abort })).rejects.toThrow('enough')
    })

    test('I2: the address of an instance that crashed is nobody else’s until it is removed', async () => {
      const crashed = await running({ startCommands: ['exit 1'] })
      await runtime.waitForExit(crashed.spec.id, never())
      const before = await running()
      const next = await running()
      const { address } = JSON.parse(await record(harness, crashed.spec.id)) as { address: string }
      expect([addressOf(before.status), addressOf(next.status)]).not.toContain(`${address}:8080`)
      await runtime.stop(before.spec.id, { timeoutMs: 5000 }, 1)
      const again = await runtime.start(before.spec, 1, never())
      expect(addressOf(again)).toBe(addressOf(before.status))
    })

    test('a restart keeps the files that the app wrote; with other variables it is a new container with the same log', async () => {
      const { spec, status } = await running({ env: { COLOR: 'blue' } })
      await get(status, '/')
      await runtime.stop(spec.id, { timeoutMs: 5000 }, 1)
      expect(await get(await runtime.start(spec, 1, never()), '/starts')).toBe(`${spec.id}\n${spec.id}\n`)
      await runtime.stop(spec.id, { timeoutMs: 5000 }, 1)
      const changed = await runtime.start({ ...spec, env: { COLOR: 'green' } }, 1, never())
      expect(JSON.parse(await get(changed, '/env'))).toMatchObject({ COLOR: 'green' })
      const said = await eventually(async () => {
        const all = await texts(spec.id)
        return all.filter((text) => text.startsWith('listening')).length === 3 ? all : false
      })
      expect(said.filter((text) => text === 'asked to stop')).toHaveLength(2)
    })

    test('init commands run before the start; which of them failed is told, and no report stands in the log', async () => {
      const spec = harness.instanceSpec({ initCommands: ['echo one > made', 'exit 3', 'cat made; exit 4'] })
      const status = await runtime.start(spec, 1, never())
      expect(status).toMatchObject({
        state: 'running',
        initFailures: [
          { number: 2, exitCode: 3 },
          { number: 3, exitCode: 4 },
        ],
      })
      await get(status, '/')
      // The engine takes over output and errors one beside the other.
      expect((await texts(spec.id)).sort()).toEqual([
        'listening on 8080',
        'one',
        'shiplock: init command 2 of 3 exited with 3',
        'shiplock: init command 3 of 3 exited with 4',
      ])
      await runtime.stop(spec.id, { timeoutMs: 5000 }, 1)
      expect(await runtime.start(spec, 1, never())).toMatchObject({ initFailures: [{ number: 2 }, { number: 3 }] })
      const strict = harness.instanceSpec({ initCommands: ['true', 'exit 5'], initFailure: 'fail' })
      await expect(runtime.start(strict, 1, never())).rejects.toMatchObject({
        code: 'LAUNCH_FAILED',
        message: 'init command 2 exited with 5, and initFailure is "fail"',
      })
    })

    test('a file tree runs in the image of its base, as a copy of its own that outlives a restart', async () => {
      const tree = { artifact: { kind: 'tree', digest: 'sha256:00' as Digest, files: 1, bytes: 1 }, artifactDirectory: APPS } as const
      const support = { layer: null, toolDirectories: [], image: 'shiplock-test/node:20' }
      const { spec, status } = await running({ ...tree, support, startCommands: ['node server.mjs'], env: { HOST: '0.0.0.0' }, port: 4000 })
      expect(await get(status, '/')).toContain(spec.id)
      expect((await inside(spec.id, 'pwd; ls')).output).toMatch(/^\/var\/www\n.*server\.mjs/s)
      await runtime.stop(spec.id, { timeoutMs: 5000 }, 1)
      expect(await get(await runtime.start(spec, 1, never()), '/starts')).toBe(`${spec.id}\n${spec.id}\n`)
      await expect(running({ ...tree, startCommands: ['true'] })).rejects.toMatchObject({ code: 'BASE_UNAVAILABLE' })
      await expect(running({ ...tree, support })).rejects.toMatchObject({ code: 'LAUNCH_FAILED' })
      const task = harness.taskSpec({ ...tree, support, command: 'test -f server.mjs && pwd' })
      const said: string[] = []
      expect(await runtime.runTask(task, (line) => said.push(line), 1, never())).toMatchObject({ exitCode: 0 })
      expect(said).toEqual(['/var/www'])
      await runtime.removeTask(task.id, 1)
    })

    test('a container that was removed by hand is missing, and is made again', async () => {
      const { spec } = await running()
      await harness.engine.json('DELETE', `/containers/shiplock-${runtime.owner}-${spec.id}`, { query: { force: true } })
      expect(await runtime.waitForExit(spec.id, never())).toEqual({ state: 'missing' })
      expect(await runtime.list()).toEqual([{ id: spec.id, labels: spec.labels, status: { state: 'missing' } }])
      expect((await runtime.start(spec, 1, never())).state).toBe('running')
    })

    test('a container without a record is found by its labels, with its fence, and can be removed', async () => {
      const { spec } = await running()
      const stranger = await harness.stranger()
      try {
        expect(await stranger.list()).toEqual([])
      } finally {
        await stranger.close()
      }
      await harness.loseRecords()
      const after = await harness.reopen()
      expect(await after.list()).toMatchObject([{ id: spec.id, labels: spec.labels, status: { state: 'running' } }])
      await after.remove(spec.id, 1)
      expect(await after.list()).toEqual([])
    })
  })
}

function record(harness: DockerHarness, id: InstanceId): Promise<string> {
  return harness.readState(`instances/${id}/container.json`)
}
