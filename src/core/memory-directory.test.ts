import { existsSync, mkdirSync, readdirSync, statSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { temporaryDirectory } from '../../test/support/temporary-directory.ts'
import { MemoryDirectory } from './memory-directory.ts'

/** Where this kernel always has a tmpfs; tests of the place itself need a real one. */
const SHM = '/dev/shm'

async function open(candidates: readonly string[], dataDirectory = temporaryDirectory()): Promise<MemoryDirectory> {
  return MemoryDirectory.find({ dataDirectory, fallback: join(dataDirectory, 'private'), candidates })
}

describe('MemoryDirectory', () => {
  test('I8: only a real tmpfs counts as memory; on disk it says so', async () => {
    const onDisk = await open([temporaryDirectory(), '/nonexistent', '/etc/hostname'])
    expect(onDisk.isInMemory).toBe(false)
    expect(onDisk.summary).toContain('on disk')
    const inMemory = await open([temporaryDirectory(), SHM])
    expect(inMemory).toMatchObject({ isInMemory: true })
    expect(inMemory.path.startsWith(`${SHM}/shiplock-`)).toBe(true)
  })

  test('I8: many that look for their place at once all find it in memory', async () => {
    const dataDirectory = temporaryDirectory()
    const found = await Promise.all(Array.from({ length: 60 }, () => open([SHM], dataDirectory)))
    expect(found.map(({ isInMemory }) => isInMemory)).toEqual(found.map(() => true))
  })

  test('I10: what stands in it is for the server alone', async () => {
    const memory = await open([SHM])
    const file = await memory.write('running/ins_a', 'x')
    expect(statSync(file).mode & 0o777).toBe(0o600)
    expect(statSync(join(memory.path, 'running')).mode & 0o777).toBe(0o700)
    expect(statSync(memory.path).mode & 0o777).toBe(0o711)
    await memory.remove('running')
  })

  test('it is gone with the last file, and comes again with the next', async () => {
    const memory = await open([SHM])
    await memory.write('a/one', '1')
    await memory.write('b/two', '2')
    await memory.remove('a/one')
    expect(readdirSync(memory.path).sort()).toEqual(['b', 'of'])
    await memory.remove('b/two')
    expect(existsSync(memory.path)).toBe(false)
    await memory.remove('b/two')
    await memory.write('a/one', '1')
    expect(await memory.read('a/one')).toBe('1')
    await memory.remove('a')
    expect(existsSync(memory.path)).toBe(false)
  })

  test('I1: many that come and go at once lose nothing', async () => {
    const memory = await open([SHM])
    await Promise.all(
      Array.from({ length: 40 }, async (_, index) => {
        for (let round = 0; round < 5; round++) {
          await memory.write(`kind/${index}`, String(index))
          expect(await memory.read(`kind/${index}`)).toBe(String(index))
          await memory.remove(`kind/${index}`)
        }
      }),
    )
    expect(existsSync(memory.path)).toBe(false)
  })

  test('what an earlier server wrote in another place is found and removed', async () => {
    const dataDirectory = temporaryDirectory()
    const before = await open([], dataDirectory)
    await before.write('running/ins_a', 'old')
    const after = await open([SHM], dataDirectory)
    expect(await after.read('running/ins_a')).toBe('old')
    expect(await after.list('running')).toEqual(['ins_a'])
    await after.remove('running/ins_a')
    expect(await before.read('running/ins_a')).toBeNull()
  })

  test('I10: a place that somebody else made first, or a link, is not taken', async () => {
    const dataDirectory = temporaryDirectory()
    const { path } = await open([SHM], dataDirectory)
    mkdirSync(path, { mode: 0o777 })
    // mkdir minds the umask.
    expect((await open([SHM], dataDirectory)).isInMemory).toBe(true)
    const { chmodSync, rmSync } = await import('node:fs')
    chmodSync(path, 0o777)
    expect((await open([SHM], dataDirectory)).isInMemory).toBe(false)
    rmSync(path, { recursive: true })
    symlinkSync(temporaryDirectory(), path)
    expect((await open([SHM], dataDirectory)).isInMemory).toBe(false)
    unlinkSync(path)
  })

  test('what was put there long ago and never used goes', async () => {
    const memory = await open([SHM])
    await memory.write('environments/old', 'x')
    await memory.removeOlder('environments', 60_000)
    expect(await memory.list('environments')).toEqual(['old'])
    await memory.removeOlder('environments', -1)
    expect(existsSync(memory.path)).toBe(false)
  })

  test('a name leads nowhere else: files next to it are untouched', async () => {
    const dataDirectory = temporaryDirectory()
    const memory = await open([], dataDirectory)
    writeFileSync(join(dataDirectory, 'other'), '')
    await memory.write('a/b', 'x')
    await memory.remove('a/b')
    expect(readdirSync(dataDirectory)).toEqual(['other'])
  })
})
