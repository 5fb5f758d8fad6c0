import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { afterEach, describe, expect, test } from 'vitest'
import type { Cgroups } from '../../src/core/cgroup.ts'
import { detectCgroups } from '../../src/core/cgroup-detect.ts'
import { eventually } from '../support/eventually.ts'

const found = detectCgroups(`test-${process.pid}`)
const LIMITS = { memoryBytes: 64 * 1024 * 1024, cpus: 0.5, cpuWeight: 100, pidsMax: 20 }
const JOIN = 'for group; do echo $$ > "$group" || exit 1; done; '

describe.skipIf(found === null)('cgroups (skipped where this host lets nobody make one)', () => {
  const groups = found as Cgroups
  afterEach(async () => {
    for (const name of groups.list()) {
      await groups.kill(name)
      await groups.remove(name)
    }
    expect(groups.list()).toEqual([])
  })
  const run = (script: string, joins: readonly string[]) => spawn('/bin/sh', ['-c', JOIN + script, 'sh', ...joins], { stdio: 'ignore' })

  test('a process that joins is a member, its children too, and killing ends them all', async () => {
    const joins = groups.create('one', LIMITS)
    const child = run('setsid sleep 1000 & sleep 1000', joins)
    await eventually(() => groups.processes('one').length >= 3)
    const exit = once(child, 'exit')
    expect(await groups.kill('one')).toBe(true)
    expect((await exit)[1]).toBe('SIGKILL')
    expect(groups.processes('one')).toEqual([])
  })

  test('I12: the number of processes is bounded', async ({ skip }) => {
    if (!groups.support.pids) skip('no pids controller')
    const child = run('while :; do sleep 1000 & done', groups.create('bomb', LIMITS))
    await eventually(() => groups.processes('bomb').length >= 10)
    expect(groups.processes('bomb').length).toBeLessThanOrEqual(LIMITS.pidsMax)
    expect(await groups.kill('bomb')).toBe(true)
    await eventually(() => child.signalCode === 'SIGKILL' || child.exitCode !== null)
  })

  test('I12: memory is bounded, and that it was short of it is known afterwards, but not in a new group of that name', async ({ skip }) => {
    if (!groups.support.memory) skip('no memory controller')
    const child = run('exec node -e "const eaten = []; for (;;) eaten.push(Buffer.alloc(8 << 20, 1))"', groups.create('hungry', LIMITS))
    await once(child, 'exit')
    expect(groups.memory('hungry').oomKills).toBeGreaterThan(0)
    expect(groups.memory('hungry').peakBytes).toBeLessThanOrEqual(LIMITS.memoryBytes)
    await groups.remove('hungry')
    groups.create('hungry', LIMITS)
    expect(groups.memory('hungry').oomKills).toBe(0)
  })

  test('what is missing has no members, can be killed and can be removed', async () => {
    expect(groups.processes('nowhere')).toEqual([])
    expect(groups.exists('nowhere')).toBe(false)
    expect(await groups.kill('nowhere')).toBe(true)
    await groups.remove('nowhere')
  })

  test('an engine that runs nothing leaves no group behind', async () => {
    groups.create('last', LIMITS)
    await groups.remove('last')
    expect(readFileSync('/proc/mounts', 'utf8')).toContain('cgroup')
    expect(groups.list()).toEqual([])
  })
})
