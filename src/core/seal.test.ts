import { randomBytes } from 'node:crypto'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, onTestFinished, test } from 'vitest'
import { createSealer, loadOrCreateKey } from './seal.ts'

const sealer = createSealer(randomBytes(32))

describe('what is sealed', () => {
  test('opens to what it was', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        expect(sealer.open(sealer.seal(text))).toBe(text)
      }),
    )
  })

  test('I8: does not show what it holds, and looks different each time', () => {
    const [one, other] = [sealer.seal('hunter2-and-more'), sealer.seal('hunter2-and-more')]
    expect(one.includes('hunter2')).toBe(false)
    expect(one.equals(other)).toBe(false)
  })

  test('is refused when a single bit of it was changed, wherever', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), fc.nat(), fc.nat(7), (text, place, bit) => {
        const sealed = sealer.seal(text)
        const at = place % sealed.length
        sealed[at] = (sealed[at] ?? 0) ^ (1 << bit)
        expect(() => sealer.open(sealed)).toThrow('could not be opened')
      }),
    )
  })

  test('is refused when cut short, empty, or sealed with another key', () => {
    const sealed = sealer.seal('a value')
    for (let length = 0; length < sealed.length; length++)
      expect(() => sealer.open(sealed.subarray(0, length))).toThrow('could not be opened')
    expect(() => createSealer(randomBytes(32)).open(sealed)).toThrow('could not be opened')
  })

  test('needs a key of 32 bytes', () => {
    expect(() => createSealer(randomBytes(16))).toThrow('32 bytes')
  })
})

describe('the key file', () => {
  const place = async () => {
    const directory = await mkdtemp(join(tmpdir(), 'shiplock-seal-'))
    onTestFinished(() => rm(directory, { recursive: true }))
    return join(directory, 'secret-key')
  }

  test('is made once, is nobody else’s to read, and stays the same', async () => {
    const path = await place()
    const key = await loadOrCreateKey(path)
    expect((await stat(path)).mode & 0o777).toBe(0o600)
    expect(await loadOrCreateKey(path)).toEqual(key)
    expect(createSealer(await loadOrCreateKey(path)).open(createSealer(key).seal('x'))).toBe('x')
  })

  test('that was damaged is refused and left as it is', async () => {
    const path = await place()
    await writeFile(path, 'not a key\n')
    expect(() => createSealer(Buffer.alloc(0))).toThrow()
    const key = await loadOrCreateKey(path)
    expect(() => createSealer(key)).toThrow('32 bytes')
    expect(await readFile(path, 'utf8')).toBe('not a key\n')
  })
})
