import { readdirSync, readFileSync, statSync } from 'node:fs'
import { readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { isShiplockError } from '../../src/core/errors.ts'
import { LIMITS } from '../../src/core/limits.ts'
import { processStat } from '../../src/core/process-identity.ts'
import type { EnvironmentId, ProjectId } from '../../src/domain/ids.ts'
import type { InstanceSpec, InstanceStatus, Runtime } from '../../src/runtimes/runtime.ts'
import type { Sandbox } from '../../src/sandbox/sandbox.ts'
import { eventually } from '../support/eventually.ts'
import { instanceSpec, LABELS, type RuntimeHarness, taskSpec } from '../support/runtime-harness.ts'
import { get, lines, never, portOf } from './runtime-suite.ts'

const AWKWARD = {
  LINES: 'one\ntwo\n\nfour\n',
  QUOTES: `it's "quoted" \`and\` $HOME \\ \${x} $(id)`,
  EQUALS: '=a=b=',
  EMPTY: '',
  UNICODE: 'schöne Grüße 🚢',
  // Names that the scripts around the app might use themselves.
  code: 'mine',
  mode: 'mine',
  environment: 'mine',
  launch: 'mine',
}

/** What running real processes on a real host brings with it. */
export function processSuite(
  name: string,
  make: () => Promise<RuntimeHarness>,
  lacks: { readonly sandbox: boolean; readonly cgroups: boolean; readonly networks: boolean },
): void {
  describe(`instances of ${name}`, () => {
    let harness: RuntimeHarness
    let runtime: Runtime
    let sandbox: Sandbox
    beforeEach(async () => {
      harness = await make()
      runtime = harness.runtime
      if (harness.sandbox === null) throw new Error('this suite needs a sandbox')
      sandbox = harness.sandbox
    })
    afterEach(async () => expect(await harness.close()).toEqual([]))

    const running = async (overrides: Partial<InstanceSpec>): Promise<{ spec: InstanceSpec; status: InstanceStatus }> => {
      const spec = instanceSpec(overrides)
      return { spec, status: await runtime.start(spec, 1, never()) }
    }
    const texts = async (spec: InstanceSpec) => (await lines(runtime, spec.id)).map((line) => line.text)

    test('I8: variables arrive exactly, and stand in no command line', async () => {
      const { spec, status } = await running({ env: { ...AWKWARD, SECRET: 'correct-horse-battery' } })
      const seen = JSON.parse(await get(status, '/env')) as Record<string, string>
      expect(seen).toMatchObject({ ...AWKWARD, PORT: String(portOf(status)), SHIPLOCK_INSTANCE: spec.id })
      for (const pid of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
        expect(commandLine(pid)).not.toContain('correct-horse-battery')
      }
    })

    test('I9: variable names that no shell can carry are refused by name', async () => {
      for (const bad of ['a b', 'x\ny', '1st', 'a=b', '', 'PPID', 'IFS']) {
        const refused = runtime.start(instanceSpec({ env: { [bad]: 'x' } }), 1, never())
        await expect(refused).rejects.toSatisfy(
          (error) => isShiplockError(error, 'INPUT_INVALID') && error.message.includes(JSON.stringify(bad)),
        )
      }
    })

    test('a restart keeps the files that the app wrote and takes the new variables', async () => {
      const { spec, status } = await running({ env: { COLOR: 'blue' } })
      await get(status, '/')
      await runtime.stop(spec.id, { timeoutMs: 5000 }, 1)
      const again = await runtime.start({ ...spec, env: { COLOR: 'green' } }, 1, never())
      expect(await get(again, '/starts')).toBe(`${spec.id}\n${spec.id}\n`)
      expect(JSON.parse(await get(again, '/env'))).toMatchObject({ COLOR: 'green' })
    })

    test('SIGTERM reaches the app below its shell, and what it says last is kept', async () => {
      const { spec, status } = await running({ startCommands: ['true; node server.mjs'] })
      await get(status, '/')
      expect((await runtime.stop(spec.id, { timeoutMs: 20_000 }, 1)).killed).toBe(false)
      expect(await runtime.inspect(spec.id)).toMatchObject({ state: 'exited', exitCode: 0, stopped: true })
      expect((await texts(spec)).at(-1)).toBe('asked to stop')
    })

    test('an app that ignores SIGTERM is killed after the time-out', async () => {
      const { spec, status } = await running({ env: { MODE: 'ignores-sigterm' } })
      await get(status, '/')
      expect((await runtime.stop(spec.id, { timeoutMs: 100 }, 1)).killed).toBe(true)
      expect(await runtime.inspect(spec.id)).toMatchObject({ state: 'exited', stopped: true })
    })

    test('children in sessions of their own go with the instance', async () => {
      // Nothing finds an orphan without environment where there are neither cgroups nor pid namespaces.
      const findsOrphans = sandbox.description.processes || sandbox.description.memory
      const { spec, status } = await running({ env: { MODE: 'leaves-children', ...(findsOrphans ? { ORPHAN: 'yes' } : {}) } })
      await get(status, '/')
      await eventually(() => sleepers(sandbox.processes(spec.id)).length === (findsOrphans ? 3 : 2))
      const pids = sandbox.processes(spec.id)
      await runtime.stop(spec.id, { timeoutMs: 5000 }, 1)
      expect(pids.filter(isRunning)).toEqual([])
    })

    test('children left behind by an app that exits go too', async () => {
      const { spec } = await running({ startCommands: ['setsid sleep 1000 & exit 3'] })
      expect(await runtime.waitForExit(spec.id, never())).toMatchObject({ state: 'exited', exitCode: 3, stopped: false })
      expect(sandbox.processes(spec.id)).toEqual([])
    })

    test('a fork bomb stays within its bound and ends when it is stopped', async ({ skip }) => {
      if (!sandbox.description.memory)
        skip(lacks.cgroups ? 'by design: without cgroups nothing bounds the number of processes' : 'this host has no cgroups')
      const { spec } = await running({ startCommands: ['bomb() { sleep 1000 & bomb | bomb & }; bomb; sleep 1000'] })
      await eventually(() => sandbox.processes(spec.id).length > 100)
      expect(sandbox.processes(spec.id).length).toBeLessThanOrEqual(LIMITS.pidsPerInstance)
      await runtime.stop(spec.id, { timeoutMs: 0 }, 1)
      expect(sandbox.processes(spec.id)).toEqual([])
    })

    test('want of memory is reported as such', async ({ skip }) => {
      if (!sandbox.description.memory)
        skip(lacks.cgroups ? 'by design: without cgroups there is no memory limit' : 'no memory limit on this host')
      const { spec } = await running({ env: { MODE: 'eats-memory' }, memoryMb: 128 })
      expect(await runtime.waitForExit(spec.id, never())).toMatchObject({ state: 'exited', outOfMemory: true, stopped: false })
    })

    test('the exit code is known even if nobody watched', async () => {
      const { spec } = await running({ startCommands: ['sleep 0.2; exit 42'] })
      const after = await harness.reopen()
      expect(await after.waitForExit(spec.id, never())).toMatchObject({ state: 'exited', exitCode: 42, stopped: false })
    })

    test('a signal that ended the app is named', async () => {
      const { spec } = await running({ startCommands: ['kill -SEGV $$'] })
      expect(await runtime.waitForExit(spec.id, never())).toMatchObject({ state: 'exited', exitCode: 139, signal: 'SIGSEGV' })
    })

    test('init commands run at each start, before the app, and their output is in the log', async () => {
      const { spec, status } = await running({
        initCommands: ['echo first', 'exit 7', 'echo third'],
        startCommands: ['echo app; exec sleep 1000'],
      })
      expect(status).toMatchObject({ state: 'running', initFailures: [{ number: 2, exitCode: 7 }] })
      const expected = ['first', 'shiplock: init command 2 of 3 exited with 7', 'third', 'app']
      await eventually(async () => expect(await texts(spec)).toEqual(expected))
      await runtime.stop(spec.id, { timeoutMs: 5000 }, 1)
      await runtime.start(spec, 1, never())
      await eventually(async () => expect(await texts(spec)).toEqual([...expected, ...expected]))
    })

    test('an init command that may not fail stops the start and is named', async () => {
      const spec = instanceSpec({ initCommands: ['true', 'exit 7'], initFailure: 'fail' })
      await expect(runtime.start(spec, 1, never())).rejects.toThrow(/init command 2 exited with 7/)
      expect(await runtime.waitForExit(spec.id, never())).toMatchObject({ state: 'exited' })
    })

    test('a slow init command can be stopped, and giving up does not wait for it', async () => {
      const spec = instanceSpec({ initCommands: ['sleep 1000'] })
      const abort = new AbortController()
      const start = runtime.start(spec, 1, abort.signal).catch((error: Error) => error.message)
      await eventually(async () => (await runtime.inspect(spec.id)).state === 'running')
      abort.abort(new Error('enough'))
      expect(await start).toBe('enough')
      await runtime.stop(spec.id, { timeoutMs: 5000 }, 1)
      expect((await runtime.inspect(spec.id)).state).toBe('exited')
    })

    test('several start commands are one instance: the first that ends decides', async () => {
      const first = `trap 'echo first asked; exit 0' TERM; echo first; exec 2>/dev/null; while :; do sleep 0.05; done`
      const { spec } = await running({ startCommands: [first, 'echo second; sleep 0.3; exit 5'] })
      expect(await runtime.waitForExit(spec.id, never())).toMatchObject({ state: 'exited', exitCode: 5 })
      expect([...(await texts(spec))].sort()).toEqual(['first', 'first asked', 'second'])
    })

    test('a fixed port that is taken is refused, naming the port and its holder', async ({ skip }) => {
      if (!lacks.networks) skip('by design: every instance has all ports of its own network')
      const server = createServer().listen(0, '127.0.0.1')
      onTestFinished(() => void server.close())
      await eventually(() => server.listening)
      const { port } = server.address() as { port: number }
      const refused = runtime.start(instanceSpec({ port }), 1, never())
      await expect(refused).rejects.toSatisfy(
        (error) =>
          isShiplockError(error, 'LAUNCH_FAILED') && error.message.includes(String(port)) && error.message.includes(`pid ${process.pid}`),
      )
    })

    test('an app on another port than the one it was given is told apart from one that is silent', async () => {
      const { spec } = await running({ env: { MODE: 'other-port' } })
      const [, port] = await eventually(async () => /listening on (\d+)/.exec((await texts(spec)).join('\n')) ?? false)
      expect((await runtime.diagnose(spec.id)).join()).toContain(`listens on 127.0.0.1:${port}, not on the PORT`)
      const silent = await running({ startCommands: ['sleep 1000'] })
      expect((await runtime.diagnose(silent.spec.id)).join()).toContain('listens on no port')
      const good = await running({})
      await get(good.status, '/')
      expect(await runtime.diagnose(good.spec.id)).toEqual([])
    })

    test('a command beside the instance has its files, variables and working directory', async () => {
      const { spec, status } = await running({ env: { COLOR: 'deep blue' } })
      await get(status, '/')
      const after = await harness.reopen()
      const options = { timeoutMs: 20_000, signal: never() }
      const outcome = await after.exec(spec.id, 'cat starts.txt; echo "$COLOR $PORT"; exit 4', options)
      expect(outcome).toEqual({ exitCode: 4, timedOut: false, output: `${spec.id}\ndeep blue ${portOf(status)}` })
      const slow = await after.exec(spec.id, 'sleep 1000', { timeoutMs: 100, signal: never() })
      expect(slow).toMatchObject({ exitCode: null, timedOut: true })
    })

    test('I10: neither the state of the engine nor other projects can be seen', async ({ skip }) => {
      if (!sandbox.description.filesystem)
        skip(lacks.sandbox ? 'by design: without a sandbox there is no mount namespace' : 'no mount namespace on this host')
      const { status } = await running({})
      for (const path of [harness.stateDirectory, '/root', '/home', '/var/run/docker.sock', '/etc/shadow', import.meta.filename]) {
        expect(await get(status, `/see?path=${encodeURIComponent(path)}`)).toBe('false')
      }
    })

    test('I10: projects, and environments of one project, run as users of their own', async ({ skip }) => {
      if (!sandbox.description.ownUser) skip('everything runs as the user of the server here')
      const mine = await running({})
      const theirs = await running({ labels: { ...LABELS, projectId: 'prj_two' as ProjectId } })
      const staging = await running({ labels: { ...LABELS, environmentId: 'env_staging' as EnvironmentId } })
      const users = await Promise.all([mine, theirs, staging].map(async ({ status }) => /as (\d+)/.exec(await get(status, '/'))?.[1]))
      expect(new Set(users).size).toBe(3)
      expect(users).not.toContain('0')
    })

    test('I1: an instance of an earlier version goes on as its project’s user, and changes to its environment’s with the next start', async ({
      skip,
    }) => {
      if (!sandbox.description.ownUser) skip('everything runs as the user of the server here')
      // Without an environment in its labels: so servers before this one launched.
      const { spec, status } = await running({ startCommands: ['echo kept >> kept.txt; node server.mjs'] })
      const before = /as (\d+)/.exec(await get(status, '/'))?.[1]
      const after = await harness.reopen()
      const told = { timeoutMs: 20_000, signal: never() }
      expect(await after.exec(spec.id, 'id -u', told)).toMatchObject({ output: before })
      await after.stop(spec.id, { timeoutMs: 5000 }, 1)
      const labels = { ...LABELS, environmentId: 'env_production' as EnvironmentId }
      const again = await after.start({ ...spec, labels }, 2, never())
      const user = /as (\d+)/.exec(await get(again, '/'))?.[1]
      expect(user).not.toBe(before)
      const owned = `cat kept.txt; for path in . server.mjs kept.txt; do stat -c %u $path; done; touch mine && id -u`
      expect(await after.exec(spec.id, owned, told)).toMatchObject({ output: ['kept', 'kept', user, user, user, user].join('\n') })
    })

    test('a task that a dead server began is found running and waited for', async () => {
      const spec = taskSpec({ command: 'echo begun; while [ ! -e go ]; do sleep 0.02; done; echo done >> log.txt; cat log.txt; exit 6' })
      const root = join(harness.stateDirectory, 'tasks', spec.id, 'root')
      void runtime.runTask(spec, () => {}, 1, never()).catch(() => {})
      await eventually(async () => (await readFile(join(root, '..', 'log'), 'utf8')).includes('begun'))
      const after = await harness.reopen()
      const printed: string[] = []
      const result = after.runTask(spec, (line) => printed.push(line), 2, never())
      await eventually(() => printed.includes('begun'))
      await writeFile(join(root, 'go'), '')
      expect(await result).toMatchObject({ exitCode: 6, timedOut: false, found: false })
      expect(printed).toEqual(['begun', 'done'])
      await after.removeTask(spec.id, 2)
    })

    test('a task over its time is killed whole, and stays timed out', async () => {
      const spec = taskSpec({ command: 'setsid sleep 1000 & sleep 1000', timeoutMs: 300 })
      expect(await runtime.runTask(spec, () => {}, 1, never())).toMatchObject({ exitCode: null, timedOut: true, found: false })
      expect(sandbox.processes(`task-${spec.id}`)).toEqual([])
      expect(await runtime.runTask(spec, () => {}, 1, never())).toMatchObject({ timedOut: true, found: true })
      await runtime.removeTask(spec.id, 1)
    })

    test('a task whose caller gives up is killed, and runs again when asked again', async () => {
      const spec = taskSpec({ command: '[ -e second ] && exit 0; touch second; echo run; sleep 1000' })
      const abort = new AbortController()
      const first = runtime.runTask(spec, (line) => line === 'run' && abort.abort(new Error('canceled')), 1, abort.signal)
      await expect(first).rejects.toThrow('canceled')
      expect(sandbox.processes(`task-${spec.id}`)).toEqual([])
      expect(await runtime.runTask(spec, () => {}, 1, never())).toMatchObject({ exitCode: 0, found: false })
      await runtime.removeTask(spec.id, 1)
    })

    test('I5: a task whose caller lets go runs on, and the next call waits for the same run', async () => {
      const spec = taskSpec({ command: 'echo begun; while [ ! -e go ]; do sleep 0.02; done; echo ran >> count; cat count' })
      const letGo = new AbortController()
      const first = runtime.runTask(spec, (line) => line === 'begun' && letGo.abort(new Error('shutdown')), 1, never(), letGo.signal)
      await expect(first).rejects.toThrow('shutdown')
      expect(sandbox.processes(`task-${spec.id}`)).not.toEqual([])
      await writeFile(join(harness.stateDirectory, 'tasks', spec.id, 'root', 'go'), '')
      const printed: string[] = []
      expect(await runtime.runTask(spec, (line) => printed.push(line), 2, never())).toMatchObject({ exitCode: 0 })
      expect(printed).toEqual(['begun', 'ran'])
      await expect(runtime.removeTask(spec.id, 1)).rejects.toMatchObject({ code: 'FENCED' })
      await runtime.removeTask(spec.id, 2)
    })

    test('I5: an instance whose state was lost is listed, with its labels, and can be removed', async () => {
      const { spec } = await running({ startCommands: ['sleep 1000'] })
      await rm(join(harness.stateDirectory, 'instances', spec.id), { recursive: true })
      expect(await runtime.list()).toMatchObject([{ id: spec.id, labels: LABELS }])
      await runtime.remove(spec.id, 1)
      expect(await runtime.list()).toEqual([])
    })

    test('I12: a gigabyte of output neither fills the disk nor the memory, and the newest lines stay', async () => {
      const { spec } = await running({
        startCommands: ['yes 0123456789abcdef0123456789abcdef | head -c 1000000000; echo; echo the end; sleep 1000'],
      })
      const log = join(harness.stateDirectory, 'instances', spec.id, 'log')
      await eventually(async () => expect((await lines(runtime, spec.id, { tail: 1 }))[0]?.text).toBe('the end'), { withinMs: 60_000 })
      await eventually(() => expect(statSync(log).blocks * 512).toBeLessThan(LIMITS.instanceLogBytes * 1.5))
      const [tail] = await lines(runtime, spec.id, { tail: 1 })
      expect(tail?.offset).toBeGreaterThan(1_000_000_000)
      const heapBefore = process.memoryUsage().arrayBuffers
      let count = 0
      for await (const line of runtime.logs(spec.id, { after: null, tail: null, follow: false, signal: never() })) {
        if (count++ > 1000) break
        expect(line.text).toBe('0123456789abcdef0123456789abcdef')
      }
      expect(process.memoryUsage().arrayBuffers - heapBefore).toBeLessThan(64 * 1024 * 1024)
    })

    test('I5: an intent without a process, as a crash leaves it, starts once', async () => {
      const { spec } = await running({})
      const directory = join(harness.stateDirectory, 'instances', spec.id)
      await runtime.stop(spec.id, { timeoutMs: 5000 }, 1)
      const record = JSON.parse(await readFile(join(directory, 'meta.json'), 'utf8'))
      await writeFile(join(directory, 'meta.json'), JSON.stringify({ ...record, launch: 'feedfacefeedface', outcome: null }))
      expect(await runtime.inspect(spec.id)).toMatchObject({ state: 'exited', exitCode: null })
      expect((await runtime.start(spec, 1, never())).state).toBe('running')
      expect((await readdir(directory)).filter((file) => file.startsWith('run.'))).toHaveLength(1)
    })
  })
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8')
  } catch {
    return ''
  }
}

function isRunning(pid: number): boolean {
  const stat = processStat(pid)
  return stat !== null && stat.state !== 'Z'
}

function sleepers(pids: readonly number[]): readonly number[] {
  return pids.filter((pid) => processStat(pid)?.command === 'sleep')
}
