import { readFileSync } from 'node:fs'
import { afterEach, expect, test } from 'vitest'
import { RunDirectory } from '../../src/runtimes/process/run-directory.ts'
import { supervisorsOf } from '../../src/runtimes/process/supervisor.ts'
import { instanceSpec, processHarness, type RuntimeHarness } from '../support/runtime-harness.ts'

const INSTANCES = 6
const REST_MS = 2000

let harness: RuntimeHarness | null = null
afterEach(async () => {
  expect(await harness?.close()).toEqual([])
  harness = null
})

const running = async () => {
  harness = await processHarness({ kind: 'auto', cgroups: true })
  const specs = Array.from({ length: INSTANCES }, () => instanceSpec({ startCommands: ['exec sleep 1000'] }))
  await Promise.all(specs.map((spec) => harness?.runtime.start(spec, 1, AbortSignal.timeout(60_000))))
  return { harness, specs }
}

/** Calls that read a file, by all threads of this process. */
function reads(): number {
  return Number(/^syscr: (\d+)$/m.exec(readFileSync('/proc/self/io', 'utf8'))?.[1])
}

test('instances at rest are watched without reading their files again and again, and their end is noticed all the same', async () => {
  const { harness, specs } = await running()
  // As after a restart of the server: none of them is a child of ours any more.
  const runtime = await harness.reopen()
  const waiting = specs.map((spec) => runtime.waitForExit(spec.id, AbortSignal.timeout(60_000)))
  await new Promise((resolve) => setTimeout(resolve, 500))
  const before = reads()
  await new Promise((resolve) => setTimeout(resolve, REST_MS))
  expect((reads() - before) / INSTANCES / (REST_MS / 1000)).toBeLessThan(10)
  for (const [index, spec] of specs.entries()) {
    const name = spec.id
    const [supervisor] = supervisorsOf(new RunDirectory(`${harness.stateDirectory}/instances/${name}`))
    const members = harness.sandbox?.processes(name) ?? []
    // The supervisor, bwrap, the app.
    const victim = [supervisor?.pid, members[0], members.at(-1)][index % 3] ?? 0
    expect(victim).toBeGreaterThan(1)
    const killedAt = performance.now()
    process.kill(victim, 'SIGKILL')
    expect((await waiting[index])?.state).toBe('exited')
    // The slow look would have needed seconds.
    expect(performance.now() - killedAt).toBeLessThan(3000)
  }
})
