import { ShiplockError } from './errors.ts'

/** Text with exactly these bytes, a byte order mark too. Variables are text: bytes that are none are refused, never replaced. Throws INPUT_INVALID. */
export function decodeExactly(bytes: Uint8Array, named: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    throw new ShiplockError('INPUT_INVALID', `${named} is not UTF-8 text, and variables are text`, {
      hint: 'Encode it (`base64 FILE`) and decode it in the app.',
    })
  }
}
