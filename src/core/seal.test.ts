import { createCipheriv, randomBytes } from 'node:crypto'
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, onTestFinished, test } from 'vitest'
import { loadOrCreateKeys, parseKeys, writeKeys } from './key-file.ts'
import { Keyring, keyId } from './seal.ts'

const sealer = new Keyring([randomBytes(32)])

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
    expect(() => new Keyring([randomBytes(32)]).open(sealed)).toThrow('could not be opened')
  })

  test('needs a key of 32 bytes', () => {
    expect(() => new Keyring([randomBytes(16)])).toThrow('32 bytes')
  })
})

describe('a keyring', () => {
  const [old, young] = [randomBytes(32), randomBytes(32)]

  test('seals with its first key and opens with each', () => {
    const before = new Keyring([old]).seal('kept')
    const ring = new Keyring([young, old])
    expect(ring.open(before)).toBe('kept')
    expect(new Keyring([young]).open(ring.seal('new'))).toBe('new')
  })

  test('still opens what was read just before a key went', () => {
    const ring = new Keyring([young, old])
    const before = new Keyring([old]).seal('kept')
    ring.use([young])
    expect(ring.open(before)).toBe('kept')
  })

  test('looks for a key again where it comes from when another server has rotated', () => {
    let onDisk = [old]
    const ring = new Keyring(onDisk, () => onDisk)
    onDisk = [young, old]
    expect(ring.open(new Keyring([young]).seal('sealed elsewhere'))).toBe('sealed elsewhere')
    expect(ring.currentId).toEqual(keyId(young))
    expect(() => ring.open(new Keyring([randomBytes(32)]).seal('x'))).toThrow('could not be opened')
  })

  test('opens what was sealed before keys had ids, with whichever fits', () => {
    const nonce = randomBytes(12)
    const cipher = createCipheriv('aes-256-gcm', old, nonce)
    const body = Buffer.concat([cipher.update('long ago'), cipher.final()])
    const sealed = Buffer.concat([Buffer.of(1), nonce, cipher.getAuthTag(), body])
    expect(new Keyring([young, old]).open(sealed)).toBe('long ago')
    expect(() => new Keyring([young]).open(sealed)).toThrow('could not be opened')
  })

  test('I8: an id or a fingerprint tells nothing of key and value, and equal values of one purpose have the same', () => {
    const ring = new Keyring([old])
    expect(old.includes(keyId(old))).toBe(false)
    expect(ring.fingerprint('a', 'hunter2')).toBe(ring.fingerprint('a', 'hunter2'))
    expect(ring.fingerprint('a', 'hunter2')).not.toBe(ring.fingerprint('b', 'hunter2'))
    expect(ring.fingerprint('a', 'hunter2')).not.toBe(new Keyring([young]).fingerprint('a', 'hunter2'))
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
    const keys = await loadOrCreateKeys(path)
    expect((await stat(path)).mode & 0o777).toBe(0o600)
    expect(await loadOrCreateKeys(path)).toEqual(keys)
    expect(new Keyring(await loadOrCreateKeys(path)).open(new Keyring(keys).seal('x'))).toBe('x')
  })

  test('holds several keys in their order', async () => {
    const path = await place()
    const keys = [randomBytes(32), randomBytes(32)]
    await writeKeys(path, keys)
    expect(await loadOrCreateKeys(path)).toEqual(keys)
  })

  test.each(['not a key\n', '', 'ab'.repeat(31), `${'ab'.repeat(32)}\nx`])(
    'that was damaged is refused and left as it is: %j',
    async (text) => {
      const path = await place()
      await writeFile(path, text, { mode: 0o600 })
      await expect(loadOrCreateKeys(path)).rejects.toMatchObject({ code: 'SECRET_KEY_REFUSED' })
      expect(await readFile(path, 'utf8')).toBe(text)
    },
  )

  test.each([0o640, 0o604, 0o666, 0o610])('I8: that others may use is refused: mode %o', async (mode) => {
    const path = await place()
    await loadOrCreateKeys(path)
    await chmod(path, mode)
    await expect(loadOrCreateKeys(path)).rejects.toMatchObject({ code: 'SECRET_KEY_REFUSED', hint: expect.stringContaining('chmod 600') })
  })

  test('may have comments, and in a setting commas', () => {
    const [one, other] = ['ab'.repeat(32), 'CD'.repeat(32)]
    expect(parseKeys(`# of 2026\n${one} # current\n\n${other}\n`)?.map((key) => key.toString('hex'))).toEqual([one, other.toLowerCase()])
    expect(parseKeys(`${one},${other}`)).toHaveLength(2)
    expect(parseKeys('ab,cd')).toBeNull()
  })
})
