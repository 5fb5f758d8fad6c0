import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { identify } from '../../core/process-identity.ts'
import { EdgeLock } from './edge-lock.ts'

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'shiplock-lock-'))
})
afterEach(() => {
  rmSync(directory, { recursive: true })
})

const hold = (identity: unknown) => writeFileSync(join(directory, 'edge.lock'), JSON.stringify(identity))

test('a free lock is taken, taken again by the same process, and given back', async () => {
  const lock = new EdgeLock(directory)
  await lock.acquire()
  await lock.acquire()
  expect((await lock.holder())?.pid).toBe(process.pid)
  await lock.release()
  expect(readdirSync(directory)).toEqual([])
})

test('a lock of a living process is refused', async () => {
  hold(identify(process.ppid))
  await expect(new EdgeLock(directory).acquire()).rejects.toMatchObject({ code: 'DATA_DIRECTORY_LOCKED' })
  expect(readdirSync(directory)).toEqual(['edge.lock'])
})

test.each([
  ['another start of the same pid', { ...identify(process.ppid), startTicks: '1' }],
  ['another boot', { ...identify(process.ppid), bootId: 'x' }],
  ['a pid that is gone', { pid: 2 ** 22 + 1, startTicks: '1', bootId: 'x' }],
])('a stale lock (%s) is broken and taken', async (_name, identity) => {
  hold(identity)
  const lock = new EdgeLock(directory)
  await lock.acquire()
  expect((await lock.holder())?.pid).toBe(process.pid)
  expect(readdirSync(directory)).toEqual(['edge.lock'])
})

test('releasing what another holds does nothing', async () => {
  hold(identify(process.ppid))
  await new EdgeLock(directory).release()
  expect(readdirSync(directory)).toEqual(['edge.lock'])
})
