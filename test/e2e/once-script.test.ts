import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { ONCE_SCRIPT } from '../../src/runtimes/process/once-script.ts'
import { eventually } from '../support/eventually.ts'

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'shiplock-once-'))
})
afterEach(() => rmSync(directory, { recursive: true }))

interface Run {
  readonly child: ChildProcess
  readonly ended: Promise<{ code: number | null; said: string }>
}

/** As in one of the instances of a deployment; a process group of its own. */
function begin(instance: string, ...args: readonly string[]): Run {
  const env = { PATH: process.env.PATH ?? '', SHIPLOCK_ONCE_DIR: directory, SHIPLOCK_INSTANCE: instance, D: directory }
  const child = spawn('/bin/sh', ['-c', ONCE_SCRIPT, 'shiplock-once', ...args], { env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] })
  let said = ''
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (chunk: Buffer) => {
      said += chunk.toString()
    })
  return { child, ended: once(child, 'close').then(([code]) => ({ code: code as number | null, said })) }
}
const run = (instance: string, ...args: readonly string[]) => begin(instance, ...args).ended
const kill = ({ child }: Run) => process.kill(-(child.pid ?? 0), 'SIGKILL')
const lines = (name: string) =>
  existsSync(join(directory, name)) ? readFileSync(join(directory, name), 'utf8').split('\n').slice(0, -1) : []
const shell = (script: string) => ['--', '/bin/sh', '-c', script]
const INSTANCES = ['one', 'two', 'three', 'four']

describe('shiplock-once', () => {
  test('of four instances at once exactly one runs the command, and all end with its exit code', async () => {
    const all = INSTANCES.map((instance) =>
      begin(instance, 'migrate', ...shell('echo $SHIPLOCK_INSTANCE >>$D/ran; while [ ! -e $D/go ]; do sleep 0.02; done')),
    )
    await eventually(() => expect(lines('ran')).toHaveLength(1))
    writeFileSync(join(directory, 'go'), '')
    const ends = await Promise.all(all.map((each) => each.ended))
    expect(ends.map(({ code }) => code)).toEqual([0, 0, 0, 0])
    const [holder] = lines('ran')
    expect(lines('ran')).toHaveLength(1)
    expect(ends.filter(({ said }) => said.includes(`migrate: ran in ${holder}, exit code 0`))).toHaveLength(3)
    expect(await run('five', 'migrate', ...shell('echo again >>$D/ran'))).toMatchObject({ code: 0 })
    expect(lines('ran')).toHaveLength(1)
  })

  test('a failure is the failure of all, also of those that come later', async () => {
    const ends = await Promise.all(INSTANCES.map((instance) => run(instance, 'seed', ...shell('echo x >>$D/ran; exit 7'))))
    expect(ends.map(({ code }) => code)).toEqual([7, 7, 7, 7])
    expect(await run('late', 'seed', ...shell('echo x >>$D/ran'))).toMatchObject({ code: 7 })
    expect(lines('ran')).toHaveLength(1)
  })

  test('with --retry the next one tries after a failure, until one succeeds', async () => {
    const script = 'echo x >>$D/ran; [ "$(wc -l <$D/ran)" -ge 3 ]'
    const ends = await Promise.all(INSTANCES.map((instance) => run(instance, '--retry', 'warm', ...shell(script))))
    expect(ends.map(({ code }) => code).sort()).toEqual([0, 0, 1, 1])
    expect(lines('ran')).toHaveLength(3)
  })

  test('kill -9 of the holder lets the next one run; what had succeeded before is not repeated', async () => {
    const holder = begin('one', 'index', ...shell('echo one >>$D/ran; exec sleep 1000'))
    await eventually(() => expect(lines('ran')).toEqual(['one']))
    const waiting = [begin('two', 'index', ...shell('echo next >>$D/ran')), begin('three', 'index', ...shell('echo next >>$D/ran'))]
    kill(holder)
    expect((await Promise.all(waiting.map((each) => each.ended))).map(({ code }) => code)).toEqual([0, 0])
    expect(lines('ran')).toEqual(['one', 'next'])
    await holder.ended
  })

  test('a command that outlives its killed script still keeps the others out', async () => {
    const holder = begin('one', 'slow', ...shell('echo one >>$D/ran; while [ ! -e $D/go ]; do sleep 0.02; done; echo done >>$D/ran'))
    await eventually(() => expect(lines('ran')).toEqual(['one']))
    process.kill(holder.child.pid ?? 0, 'SIGKILL')
    const next = begin('two', 'slow', ...shell('echo two >>$D/ran'))
    await eventually(() => expect(next.child.exitCode).toBeNull())
    expect(lines('ran')).toEqual(['one'])
    writeFileSync(join(directory, 'go'), '')
    expect((await next.ended).code).toBe(0)
    expect(lines('ran')).toEqual(['one', 'done', 'two'])
  })

  test('keys have nothing to do with each other', async () => {
    const first = begin('one', 'a', ...shell('echo a >>$D/ran; while [ ! -e $D/go ]; do sleep 0.02; done'))
    await eventually(() => expect(lines('ran')).toEqual(['a']))
    expect(await run('two', 'b', ...shell('echo b >>$D/ran'))).toMatchObject({ code: 0 })
    writeFileSync(join(directory, 'go'), '')
    await first.ended
    expect(lines('ran')).toEqual(['a', 'b'])
  })

  test.each([
    [[]],
    [['../up', '--', 'true']],
    [['.hidden', '--', 'true']],
    [['a b', '--', 'true']],
    [['x'.repeat(101), '--', 'true']],
    [['key', 'true']],
    [['key', '--']],
  ])('I9: %j is refused with how to call it', async (args) => {
    expect(await run('one', ...args)).toMatchObject({ code: 64, said: expect.stringContaining('usage: shiplock-once') })
  })

  test('outside of an instance it says so', async () => {
    const child = spawn('/bin/sh', ['-c', ONCE_SCRIPT, 'shiplock-once', 'key', '--', 'true'], { env: { PATH: process.env.PATH ?? '' } })
    expect(await once(child, 'close')).toEqual([69, null])
  })
})
