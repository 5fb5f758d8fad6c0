import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { writeFileAtomic } from './atomic-file.ts'
import { ShiplockError } from './errors.ts'
import { KEY_BYTES } from './seal.ts'

/** Where the sealing keys come from. */
export type KeySource = { readonly kind: 'file'; readonly path: string } | { readonly kind: 'setting'; readonly text: string }

const HEX = /^[0-9a-fA-F]{64}$/
const FILE_BYTES_MAX = 65_536

/** 64 hex digits each, with line breaks, spaces or commas between them; `#` begins a comment. The first one seals. null = not of that form. */
export function parseKeys(text: string): Buffer[] | null {
  const words = text
    .split('\n')
    .flatMap((line) => line.replace(/#.*$/, '').split(/[\s,]+/))
    .filter((word) => word !== '')
  if (words.length === 0 || words.some((word) => !HEX.test(word))) return null
  return words.map((word) => Buffer.from(word, 'hex'))
}

/** The keys of a key file; made with a fresh one when there is none. Refuses a file that others may read, or that holds anything else. */
export async function loadOrCreateKeys(path: string): Promise<Buffer[]> {
  const present = await loadKeys(path)
  if (present !== null) return present
  const keys = [randomBytes(KEY_BYTES)]
  await writeKeys(path, keys)
  return keys
}

/** null = there is no such file. */
export async function loadKeys(path: string): Promise<Buffer[] | null> {
  const text = await readPrivate(path)
  if (text === null) return null
  const keys = parseKeys(text)
  if (keys === null) {
    throw new ShiplockError(
      'SECRET_KEY_REFUSED',
      `the key file ${path} is damaged: it must hold keys of ${KEY_BYTES * 2} hex digits, a line each`,
      {
        hint: 'Put back the file from a backup. A new key can not open what was sealed with the old one.',
      },
    )
  }
  return keys
}

/** At once, for a reader that can't wait; null = not to be had now. */
export function readKeysAgain(path: string): Buffer[] | null {
  try {
    return parseKeys(readFileSync(path, 'utf8'))
  } catch {
    return null
  }
}

export async function writeKeys(path: string, keys: readonly Uint8Array[]): Promise<void> {
  const lines = keys.map((key) => Buffer.from(key).toString('hex'))
  await writeFileAtomic(path, `${lines.join('\n')}\n`, 0o600)
}

/** Mode and content of the same open file, so that it can't be exchanged in between. */
async function readPrivate(path: string): Promise<string | null> {
  const file = await open(path, 'r').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null
    throw new ShiplockError('SECRET_KEY_REFUSED', `the key file ${path} can't be read: ${error.code}`, { cause: error })
  })
  if (file === null) return null
  try {
    const { mode, size } = await file.stat()
    if ((mode & 0o077) !== 0) {
      throw new ShiplockError(
        'SECRET_KEY_REFUSED',
        `the key file ${path} has mode ${(mode & 0o777).toString(8).padStart(4, '0')}: others than its owner may use it`,
        { hint: `Run \`chmod 600 ${path}\`, and rotate the key if others may have read it.` },
      )
    }
    if (size > FILE_BYTES_MAX) throw new ShiplockError('SECRET_KEY_REFUSED', `the key file ${path} is too large to be one`)
    return await file.readFile('utf8')
  } finally {
    await file.close()
  }
}
