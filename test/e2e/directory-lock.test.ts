import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { acquireDirectoryLock } from '../../src/core/directory-lock.ts'
import { bundle, removeBundle } from '../support/bundle.ts'
import { eventually } from '../support/eventually.ts'

let directory: string
let program: string
let children: ChildProcess[]

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'shiplock-lock-'))
  program = await bundle('programs/directory-locker.ts')
  children = []
})
afterEach(async () => {
  for (const child of children) child.kill('SIGKILL')
  await rm(directory, { recursive: true, force: true })
  await removeBundle(program)
})

/** Resolves with its first line. */
async function locker(path: string): Promise<{ child: ChildProcess; said: string }> {
  const child = spawn(process.execPath, [program, path], { stdio: ['ignore', 'pipe', 'inherit'] })
  children.push(child)
  const [chunk] = (await once(child.stdout as NonNullable<ChildProcess['stdout']>, 'data')) as [Buffer]
  return { child, said: chunk.toString().trim() }
}

test('a second server on the same directory is refused and learns the pid of the first', async () => {
  const first = await locker(directory)
  expect(first.said).toBe('locked')
  const refusal = { code: 'DATA_DIRECTORY_LOCKED', details: { path: directory, purpose: 'server', pid: first.child.pid } }
  await expect(acquireDirectoryLock(directory)).rejects.toMatchObject(refusal)
  expect((await locker(directory)).said).toContain(`process ${first.child.pid}`)
})

test('another path to the same directory is the same directory', async () => {
  const alias = `${directory}-alias`
  await symlink(directory, alias)
  const lock = await acquireDirectoryLock(directory)
  await expect(acquireDirectoryLock(alias)).rejects.toMatchObject({ details: { pid: process.pid } })
  await expect(acquireDirectoryLock(`${directory}/../${directory.split('/').at(-1)}/.`)).rejects.toMatchObject({
    code: 'DATA_DIRECTORY_LOCKED',
  })
  await lock.release()
  await rm(alias)
})

test('I5: kill -9 of the holder frees it', async () => {
  const first = await locker(directory)
  first.child.kill('SIGKILL')
  const lock = await eventually(() => acquireDirectoryLock(directory))
  await lock.release()
})

test('is free again after release, and releasing twice does no harm', async () => {
  const lock = await acquireDirectoryLock(directory)
  await Promise.all([lock.release(), lock.release()])
  const again = await acquireDirectoryLock(directory)
  await lock.release()
  await expect(acquireDirectoryLock(directory)).rejects.toMatchObject({ code: 'DATA_DIRECTORY_LOCKED' })
  await again.release()
})

test('different purposes and different directories do not hinder one another', async () => {
  const other = await mkdtemp(join(tmpdir(), 'shiplock-lock-'))
  const locks = [
    await acquireDirectoryLock(directory),
    await acquireDirectoryLock(directory, 'database'),
    await acquireDirectoryLock(other),
  ]
  for (const lock of locks) await lock.release()
  await rm(other, { recursive: true })
})

test('of many that come at once exactly one gets it', async () => {
  const results = await Promise.allSettled(Array.from({ length: 20 }, () => acquireDirectoryLock(directory)))
  const [winner, ...others] = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
  expect(others).toEqual([])
  await winner?.release()
})

test('a directory that does not exist can not be locked', async () => {
  await expect(acquireDirectoryLock(join(directory, 'missing'))).rejects.toMatchObject({ code: 'ENOENT' })
})
