import { spawn } from 'node:child_process'
import { expect, test } from 'vitest'
import { identify, type ProcessIdentity } from '../../core/process-identity.ts'
import { VitalSigns } from './vital-signs.ts'

const identityOf = (pid: number): ProcessIdentity => ({ pid, startTicks: '1', bootId: 'b' })

test('the end of a process is told once, of a stranger too', async () => {
  const child = spawn('sleep', ['60'])
  await new Promise((resolve) => child.once('spawn', resolve))
  const identity = identify(child.pid ?? 0)
  if (identity === null) throw new Error('no such process')
  const signs = new VitalSigns()
  let told = 0
  signs.watch(identity, () => {
    told += 1
  })
  process.kill(identity.pid, 'SIGKILL')
  await expect.poll(() => told, { timeout: 5000, interval: 5 }).toBe(1)
})

test('a zombie, and a number that was given away, are found by proof', async () => {
  const living = new Set([1, 2])
  const signs = new VitalSigns({ hasNumber: () => true, isAlive: ({ pid }) => living.has(pid) })
  const gone: number[] = []
  for (const pid of living) signs.watch(identityOf(pid), () => gone.push(pid))
  living.delete(2)
  await expect.poll(() => gone, { timeout: 10_000 }).toEqual([2])
})

test('five hundred at rest are asked for without files, but for a proof each in two seconds', async () => {
  let questions = 0
  let proofs = 0
  const signs = new VitalSigns({
    hasNumber: () => {
      questions += 1
      return true
    },
    isAlive: () => {
      proofs += 1
      return true
    },
  })
  const stops = Array.from({ length: 500 }, (_, pid) => signs.watch(identityOf(pid), () => {}))
  await expect.poll(() => questions, { timeout: 20_000 }).toBeGreaterThan(500 * 50)
  expect(proofs / questions).toBeLessThan(1 / 30)
  for (const stop of stops) stop()
})
