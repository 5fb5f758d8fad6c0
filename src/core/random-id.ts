import { randomBytes } from 'node:crypto'

const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz'

/** `<prefix>_` + 9 characters of time (ms, sortable) + 11 random ones (55 bits), Crockford base32 in lower case. */
export function randomId<Id extends string>(prefix: string, now: number = Date.now()): Id {
  let time = ''
  for (let value = now, index = 0; index < 9; index++, value = Math.floor(value / 32)) {
    time = ALPHABET[value % 32] + time
  }
  let random = ''
  for (const byte of randomBytes(11)) random += ALPHABET[byte & 31]
  return `${prefix}_${time}${random}` as Id
}
