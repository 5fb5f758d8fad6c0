import { createCipheriv, createDecipheriv, createHash, createHmac, randomBytes } from 'node:crypto'
import { ShiplockError } from './errors.ts'

/**
 * AES-256-GCM with a random 96-bit nonce. Layout: version 2 (1) | id of the key (8) | nonce (12) | tag (16) | ciphertext; version and id
 * are authenticated too. Version 1 had no id: it is opened with whichever key fits.
 */
export interface Sealer {
  seal(text: string): Buffer
  /** Throws INTERNAL when no key fits or the bytes were changed. */
  open(sealed: Uint8Array): string
}

const VERSION = 2
const VERSION_WITHOUT_ID = 1
export const KEY_BYTES = 32
const ID_BYTES = 8
const HEADER_BYTES = 1 + ID_BYTES

/** Names a key without telling anything of it. */
export function keyId(key: Uint8Array): Buffer {
  return createHmac('sha256', key).update('shiplock sealing key').digest().subarray(0, ID_BYTES)
}

/** The keys of a server: the first one seals, all of them open. They may be exchanged while it runs. */
export class Keyring implements Sealer {
  #keys: readonly Buffer[] = []
  /** Every key there ever was, so that what was read just before a key went can still be opened. */
  readonly #byId = new Map<string, Buffer>()
  readonly #readAgain: () => readonly Uint8Array[] | null

  /** `readAgain`: the keys where they come from, asked for when one is missing: another server that shares them may have rotated. */
  constructor(keys: readonly Uint8Array[], readAgain: () => readonly Uint8Array[] | null = () => null) {
    this.#readAgain = readAgain
    this.use(keys)
  }

  use(keys: readonly Uint8Array[]): void {
    if (keys.length === 0) throw new Error('a keyring needs a key')
    if (keys.some((key) => key.length !== KEY_BYTES)) throw new Error(`a sealing key has ${KEY_BYTES} bytes`)
    this.#keys = keys.map((key) => Buffer.from(key))
    for (const key of this.#keys) this.#byId.set(keyId(key).toString('hex'), key)
  }

  get keys(): readonly Buffer[] {
    return this.#keys
  }

  /** Of the key that seals. */
  get currentId(): Buffer {
    return keyId(this.#current)
  }

  get #current(): Buffer {
    const [first] = this.#keys
    if (first === undefined) throw new Error('a keyring needs a key')
    return first
  }

  seal(text: string): Buffer {
    const nonce = randomBytes(12)
    const header = Buffer.concat([Buffer.of(VERSION), this.currentId])
    const cipher = createCipheriv('aes-256-gcm', this.#current, nonce)
    cipher.setAAD(header)
    const body = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()])
    return Buffer.concat([header, nonce, cipher.getAuthTag(), body])
  }

  open(sealed: Uint8Array): string {
    const bytes = Buffer.from(sealed)
    let cause: unknown = new Error(`sealed with an unknown version or key`)
    const rest = bytes[0] === VERSION ? HEADER_BYTES : 1
    for (const key of this.#fitting(bytes)) {
      try {
        return decipher(key, bytes, rest)
      } catch (error) {
        cause = error
      }
    }
    throw new ShiplockError('INTERNAL', 'a sealed value could not be opened: the key is not the one it was sealed with', {
      hint: 'Put back the key that this database belongs to: the file secret-key of the data directory, or SHIPLOCK_SECRET_KEY.',
      cause,
    })
  }

  #fitting(sealed: Buffer): Iterable<Buffer> {
    if (sealed[0] === VERSION_WITHOUT_ID) return this.#byId.values()
    if (sealed[0] !== VERSION || sealed.length < HEADER_BYTES) return []
    const id = sealed.subarray(1, HEADER_BYTES).toString('hex')
    if (!this.#byId.has(id)) {
      const present = this.#readAgain()
      if (present?.some((key) => keyId(key).toString('hex') === id)) this.use(present)
    }
    const key = this.#byId.get(id)
    return key === undefined ? [] : [key]
  }

  /** Tells whether two values are equal, and nothing else about them; for values of the same purpose, under the same key only. */
  fingerprint(purpose: string, value: string): string {
    const key = createHash('sha256').update('shiplock fingerprint').update(this.#current).digest()
    return createHmac('sha256', key)
      .update(JSON.stringify([purpose, value]))
      .digest('hex')
      .slice(0, 12)
  }
}

function decipher(key: Buffer, sealed: Buffer, at: number): string {
  const open = createDecipheriv('aes-256-gcm', key, sealed.subarray(at, at + 12), { authTagLength: 16 })
  if (at === HEADER_BYTES) open.setAAD(sealed.subarray(0, HEADER_BYTES))
  open.setAuthTag(sealed.subarray(at + 12, at + 28))
  return Buffer.concat([open.update(sealed.subarray(at + 28)), open.final()]).toString('utf8')
}
