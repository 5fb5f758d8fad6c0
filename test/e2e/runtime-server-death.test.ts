import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { InstanceSpec } from '../../src/runtimes/runtime.ts'
import { get, lines, never } from '../conformance/runtime-suite.ts'
import { bundle, removeBundle } from '../support/bundle.ts'
import { eventually } from '../support/eventually.ts'
import { instanceSpec, type ProcessHarnessOptions, processHarness, type RuntimeHarness, supervisorsOf } from '../support/runtime-harness.ts'

let program: string
beforeAll(async () => {
  program = await bundle('runtime-owner.ts')
})
afterAll(() => removeBundle(program))

const HOSTS: readonly ProcessHarnessOptions[] = [
  { kind: 'auto', cgroups: true },
  { kind: 'none', cgroups: false },
]

describe.each(HOSTS)('the death of a server that runs instances (sandbox $kind, cgroups $cgroups)', (host) => {
  let harness: RuntimeHarness
  const owners = new Set<ChildProcess>()
  beforeEach(async () => {
    harness = await processHarness(host)
  })
  afterEach(async () => {
    for (const owner of owners) await kill(owner)
    expect(await harness.close()).toEqual([])
  })

  const own = (specs: readonly InstanceSpec[]) => {
    const args = [program, harness.stateDirectory, host.kind, String(host.cgroups), JSON.stringify(specs)]
    const owner = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'], env: {} })
    owners.add(owner)
    return owner
  }
  const kill = async (owner: ChildProcess) => {
    owners.delete(owner)
    if (owner.exitCode !== null || owner.signalCode !== null) return
    const exit = once(owner, 'exit')
    owner.kill('SIGKILL')
    await exit
  }

  test('I5: instances go on without it, keep writing their logs, and are adopted by the next', async () => {
    const beating = `node -e "let n = 0; setInterval(() => console.log('beat ' + n++), 20)"`
    const specs = [
      instanceSpec(),
      instanceSpec({ startCommands: [beating] }),
      instanceSpec({ startCommands: ['sleep 0.5; exit 9'] }),
    ] as const
    const owner = own(specs)
    await saysStarted(owner, specs[2].id)
    await kill(owner)
    const runtime = await harness.reopen()
    expect(await get(await runtime.inspect(specs[0].id), '/')).toContain(specs[0].id)
    expect(await runtime.waitForExit(specs[2].id, never())).toMatchObject({ state: 'exited', exitCode: 9, stopped: false })
    await eventually(async () => (await lines(runtime, specs[1].id)).length > 20)
    const texts = (await lines(runtime, specs[1].id)).map((line) => line.text)
    expect(texts).toEqual(texts.map((_, index) => `beat ${index}`))
    for (const spec of specs) expect(await runtime.start(spec, 2, never())).toMatchObject({ state: 'running' })
    expect((await runtime.list()).map(({ id }) => id).sort()).toEqual(specs.map(({ id }) => id).sort())
    expect((await runtime.stop(specs[0].id, { timeoutMs: 20_000 }, 2)).killed).toBe(false)
  })

  test('I5: killed at any moment of a start, there are never two copies and none is lost', async () => {
    // From before the first file is written until well after the app listens, in uneven steps.
    for (const [round, delayMs] of [0, 3, 7, 11, 16, 22, 29, 37, 46, 60].entries()) {
      const spec = instanceSpec()
      const owner = own([spec])
      await says(owner, 'open')
      await new Promise((resolve) => setTimeout(resolve, delayMs))
      await kill(owner)
      const runtime = await harness.reopen()
      const status = await runtime.start(spec, round + 2, never())
      expect(await get(status, '/starts'), `killed after ${delayMs} ms`).toBe(`${spec.id}\n`)
      expect(supervisors(harness, spec)).toHaveLength(SUPERVISOR_AND_LOG_KEEPER)
      expect(await runtime.list()).toHaveLength(1)
      await runtime.remove(spec.id, round + 2)
      expect(await runtime.list()).toEqual([])
    }
  })

  test('I5: killed in the middle of a start, what was begun can be removed without being started', async () => {
    for (const delayMs of [2, 9, 18, 33]) {
      const spec = instanceSpec()
      const owner = own([spec])
      await says(owner, 'open')
      await new Promise((resolve) => setTimeout(resolve, delayMs))
      await kill(owner)
      const runtime = await harness.reopen()
      await runtime.remove(spec.id, 2)
      expect(await runtime.list()).toEqual([])
      expect(supervisorsOf(harness.stateDirectory)).toEqual([])
    }
  })
})

/** The subshell that bounds the log has its supervisor's command line. */
const SUPERVISOR_AND_LOG_KEEPER = 2

function supervisors(harness: RuntimeHarness, spec: InstanceSpec): readonly string[] {
  return supervisorsOf(harness.stateDirectory).filter((line) => line.includes('started_of') && line.includes(spec.id))
}

function saysStarted(owner: ChildProcess, id: string): Promise<void> {
  return says(owner, `started ${id} running`)
}

/** Resolves when the program has printed the text; its output stays open, since a program without one would die by itself. */
function says(owner: ChildProcess, text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    let output = ''
    owner.stdout?.on('data', (chunk: Buffer) => {
      output += chunk
      if (output.includes(text)) resolve()
    })
    owner.once('exit', () => reject(new Error(`the server ended without saying ${JSON.stringify(text)}: ${output}`)))
  })
}
