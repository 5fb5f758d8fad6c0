import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { describe, expect, test } from 'vitest'
import { eventually } from '../../test/support/eventually.ts'
import { bootId, identify, isAlive, parseStat, processStat, signalProcess } from './process-identity.ts'

describe('process identity', () => {
  test('a command name with spaces and parentheses does not shift the fields', () => {
    const stat = `42 (a) b (c)) S 1 7 8 ${'0 '.repeat(15)}987654 0`
    expect(parseStat(stat)).toMatchObject({
      pid: 42,
      command: 'a) b (c)',
      state: 'S',
      parent: 1,
      group: 7,
      session: 8,
      startTicks: '987654',
    })
    expect(parseStat('nonsense')).toBeNull()
  })

  test('we are alive, under our own start time and boot only', () => {
    const self = identify(process.pid)
    if (self === null) throw new Error('we should be alive')
    expect(isAlive(self)).toBe(true)
    expect(isAlive({ ...self, startTicks: '1' })).toBe(false)
    expect(isAlive({ ...self, bootId: 'another' })).toBe(false)
    expect(self.bootId).toBe(bootId())
  })

  test('a process that ended is not signaled, whoever has its pid now', async () => {
    const child = spawn('sleep', ['1000'])
    const identity = await eventually(() => identify(child.pid ?? 0) ?? false)
    const exit = once(child, 'exit')
    expect(signalProcess({ ...identity, startTicks: '1' }, 'SIGKILL')).toBe(false)
    expect(signalProcess(identity, 'SIGKILL')).toBe(true)
    await exit
    expect(isAlive(identity)).toBe(false)
    expect(processStat(identity.pid)?.startTicks).not.toBe(identity.startTicks)
  })
})
