import { readFileSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { killGroup, runCommand } from './exec.ts'

const env = { PATH: process.env.PATH ?? '/usr/bin:/bin' }
const sh = (script: string, options: Partial<Parameters<typeof runCommand>[2]> = {}) =>
  runCommand('/bin/sh', ['-c', script], { env, ...options })

async function scratch(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'shiplock-exec-'))
  onTestFinished(() => rm(directory, { recursive: true, force: true }))
  return directory
}

/** Runs and is no zombie. */
function isAlive(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) [ZX]/s.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}

describe('a command', () => {
  test('tells its exit code, its output and the end of its errors', async () => {
    const result = await sh('echo out; echo err >&2; exit 3')
    expect(result).toMatchObject({ exitCode: 3, signal: null, stdout: 'out\n', stderrTail: ['err'], timedOut: false, aborted: false })
  })

  test('takes its arguments as they are: nothing is a shell string', async () => {
    const words = ['a b', '$HOME', '; exit 9', '`id`', "it's", '*']
    const { stdout } = await runCommand('/usr/bin/printf', ['%s|', ...words], { env })
    expect(stdout).toBe(words.map((word) => `${word}|`).join(''))
  })

  test('has the environment that it was given and no other', async () => {
    const { stdout } = await runCommand('/usr/bin/env', [], { env: { ONLY: 'this' } })
    expect(stdout).toBe('ONLY=this\n')
  })

  test('gets its input, and may end without reading it', async () => {
    expect((await sh('cat', { input: 'hello' })).stdout).toBe('hello')
    expect((await sh('exit 0', { input: 'x'.repeat(1_000_000) })).exitCode).toBe(0)
  })

  test('gives its lines as they come, made printable', async () => {
    const lines: string[] = []
    await sh(`printf 'one\\n\\033[31mred\\033[0m\\nlast'`, { onLine: (line, stream) => lines.push(`${stream} ${line}`) })
    expect(lines).toEqual(['stdout one', 'stdout red', 'stdout last'])
  })

  test('I12: prints a lot and only so much of it is kept', async () => {
    const { stdout } = await sh('head -c 3000000 /dev/zero', { stdoutBytesMax: 1000 })
    expect(stdout).toHaveLength(1000)
  })

  test('that does not exist is refused by name', async () => {
    await expect(runCommand('/no/such/program', [], { env })).rejects.toMatchObject({ code: 'INTERNAL', details: { errno: 'ENOENT' } })
    await expect(sh('true', { cwd: '/no/such/directory' })).rejects.toThrow('ENOENT')
  })

  test('is not started when it was aborted before', async () => {
    await expect(sh('true', { signal: AbortSignal.abort(new Error('no')) })).rejects.toThrow('no')
  })
})

describe('no process outlives its command', () => {
  test('a child left behind by a program that exits 0 is ended too', async () => {
    const pidFile = join(await scratch(), 'pid')
    const result = await sh(`sleep 1000 >/dev/null 2>&1 & echo $! > ${pidFile}; exit 0`)
    expect(result.exitCode).toBe(0)
    expect(isAlive(Number(await readFile(pidFile, 'utf8')))).toBe(false)
  })

  test('a time-out ends the whole group, also one that ignores SIGTERM', async () => {
    const pidFile = join(await scratch(), 'pid')
    const script = `trap '' TERM; sh -c 'trap "" TERM; echo $$ > ${pidFile}; while :; do sleep 1; done' & wait`
    const result = await sh(script, { timeoutMs: 300, killGraceMs: 50 })
    expect(result).toMatchObject({ timedOut: true, aborted: false, signal: 'SIGKILL' })
    expect(isAlive(Number(await readFile(pidFile, 'utf8')))).toBe(false)
  })

  test('an abort ends it, and the result says so', async () => {
    const stop = new AbortController()
    const running = sh('echo begun; sleep 1000', { signal: stop.signal, onLine: () => stop.abort() })
    expect(await running).toMatchObject({ aborted: true, timedOut: false, signal: 'SIGTERM' })
  })

  test('one that ends at once on SIGTERM is not kept waiting for the grace time', async () => {
    const stop = new AbortController()
    const result = await sh('echo begun; exec sleep 1000', { signal: stop.signal, onLine: () => stop.abort(), killGraceMs: 60_000 })
    expect(result.tookMs).toBeLessThan(30_000)
  })

  test('ending a group that is gone is success', async () => {
    let pid = 0
    await sh('true', {
      onSpawn: (spawned) => {
        pid = spawned
      },
    })
    await expect(killGroup(pid, 100)).resolves.toBeUndefined()
  })
})
