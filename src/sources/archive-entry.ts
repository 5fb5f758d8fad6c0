import { ShiplockError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { printable } from '../core/printable.ts'

const NAME_BYTES_MAX = 255
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this refuses
const CONTROL = /[\u0000-\u001f\u007f]/

/** The refusal of an archive entry; names it, since the archive may hold a hundred thousand. */
export function entryRefused(name: string, reason: string): ShiplockError {
  const entry = printable(name.slice(0, 200))
  return new ShiplockError('UPLOAD_REFUSED', `archive entry ${JSON.stringify(entry)} ${reason}`, { details: { entry, reason } })
}

/** The path of an entry relative to the archive's root (`''` = the root itself), or a refusal. */
export function entryPath(name: string): string {
  if (name === '') throw entryRefused(name, 'has no name')
  if (CONTROL.test(name)) throw entryRefused(name, 'has control characters in its name')
  if (name.includes('\ufffd')) throw entryRefused(name, 'has a name that is not valid UTF-8')
  if (name.startsWith('/')) throw entryRefused(name, 'has an absolute path')
  if (Buffer.byteLength(name) > LIMITS.uploadPathBytes) throw entryRefused(name, `has a path longer than ${LIMITS.uploadPathBytes} bytes`)
  const parts = name.split('/').filter((part) => part !== '' && part !== '.')
  if (parts.includes('..')) throw entryRefused(name, 'has `..` in its path')
  if (parts.some((part) => Buffer.byteLength(part) > NAME_BYTES_MAX))
    throw entryRefused(name, `has a name longer than ${NAME_BYTES_MAX} bytes`)
  return parts.join('/')
}
