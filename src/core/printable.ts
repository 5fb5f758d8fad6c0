// biome-ignore-all lint/suspicious/noControlCharactersInRegex: control characters are what this looks for
import { stripVTControlCharacters } from 'node:util'

/** Control characters but tab, and the marks that turn the direction of text. */
const CONTROL = /[\u0000-\u0008\u000a-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g

/** Foreign text made harmless for logs and terminals: escape sequences go, other control and direction characters become `�` (I9). */
export function printable(text: string): string {
  return stripVTControlCharacters(text).replace(CONTROL, '\ufffd')
}
