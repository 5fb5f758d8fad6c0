import { LIMITS } from './limits.ts'
import { printable } from './printable.ts'

/** Shorter values would turn ordinary words into stars. In characters. */
export const SHORTEST_SECRET = 6

/** False for a value that is too short to be recognised in a text. */
export function isRecognisable(value: string): boolean {
  return partsOf(value).length > 0
}

/**
 * The texts by which a secret can be recognised: as it is, without its line breaks (they are wrapped at other places), each of its lines,
 * and all of that URL-encoded, within JSON, as hex, and as base64 at any of the three places of a group. Most telling first;
 * a very long value has only some of the encodings (I12). `isTelling`: whether a line alone gives the secret away.
 */
export function secretForms(given: string, isTelling: (line: string) => boolean = () => true): string[] {
  // Halves of characters can't be encoded.
  const value = Buffer.from(given).toString()
  const forms = new Set<string>()
  const parts = partsOf(value, isTelling)
  for (const part of parts) forms.add(part).add(printable(part))
  for (const form of base64Forms(value)) forms.add(form)
  for (const part of parts) if (part.length <= LIMITS.secretEncodedLength) for (const form of encodings(part)) forms.add(form)
  return [...forms].map(withoutBreaks).filter((form) => form.length >= SHORTEST_SECRET)
}

/** Of what is matched without regard to line breaks. */
function withoutBreaks(text: string): string {
  return text.replace(/[\r\n]+/g, '')
}

function partsOf(value: string, isTelling: (line: string) => boolean = () => true): string[] {
  const whole = value.trim()
  const lines = value.split(/\r\n|\r|\n/).map((line) => line.trim())
  return [...new Set([whole, ...lines.filter(isTelling)])].filter((part) => withoutBreaks(part).length >= SHORTEST_SECRET)
}

function encodings(value: string): string[] {
  const urlEncoded = encodeURIComponent(value)
  const hex = Buffer.from(value).toString('hex')
  return [
    ...base64Forms(value),
    urlEncoded,
    urlEncoded.replace(/%[0-9A-F]{2}/g, (octet) => octet.toLowerCase()),
    new URLSearchParams([['', value]]).toString().slice(1),
    JSON.stringify(value).slice(1, -1),
    hex,
    hex.toUpperCase(),
  ]
}

/** As a whole, and as part of a longer text (`user:password`), where it begins at any of three places of a group; only what depends on nothing else. */
function base64Forms(value: string): string[] {
  return (['base64', 'base64url'] as const).flatMap((encoding) => {
    const bytes = Buffer.from(value)
    const inside = [0, 1, 2].map((before) => {
      const text = Buffer.concat([Buffer.alloc(before), bytes])
        .toString(encoding)
        .replace(/=+$/, '')
      const isWhole = (before + bytes.length) % 3 === 0
      return text.slice(Math.ceil((before * 8) / 6), isWhole ? undefined : -1)
    })
    return [bytes.toString(encoding), ...inside]
  })
}
