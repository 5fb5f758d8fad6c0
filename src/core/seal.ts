import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { writeFileAtomic } from './atomic-file.ts'
import { ShiplockError } from './errors.ts'

/** AES-256-GCM with a random 96-bit nonce. Layout: version (1) | nonce (12) | tag (16) | ciphertext. */
export interface Sealer {
  seal(text: string): Buffer
  /** Throws INTERNAL when the key is another or the bytes were changed. */
  open(sealed: Uint8Array): string
}

const VERSION = 1
const KEY_BYTES = 32

export function createSealer(key: Uint8Array): Sealer {
  if (key.length !== KEY_BYTES) throw new Error(`a sealing key has ${KEY_BYTES} bytes`)
  return {
    seal(text) {
      const nonce = randomBytes(12)
      const cipher = createCipheriv('aes-256-gcm', key, nonce)
      const body = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()])
      return Buffer.concat([Buffer.of(VERSION), nonce, cipher.getAuthTag(), body])
    },
    open(sealed) {
      const bytes = Buffer.from(sealed)
      try {
        if (bytes[0] !== VERSION) throw new Error(`unknown version ${bytes[0]}`)
        const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(1, 13))
        decipher.setAuthTag(bytes.subarray(13, 29))
        return Buffer.concat([decipher.update(bytes.subarray(29)), decipher.final()]).toString('utf8')
      } catch (error) {
        throw new ShiplockError('INTERNAL', 'sealed variables could not be opened: the key file is not the one they were sealed with', {
          hint: 'Put back the file secret-key of the data directory that this database belongs to.',
          cause: error,
        })
      }
    },
  }
}

/** The key file (32 random bytes, hex, mode 0600); made at the first start. */
export async function loadOrCreateKey(path: string): Promise<Buffer> {
  try {
    return Buffer.from((await readFile(path, 'utf8')).trim(), 'hex')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
  const key = randomBytes(KEY_BYTES)
  await writeFileAtomic(path, `${key.toString('hex')}\n`, 0o600)
  return key
}
