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
export function secretForms(
  given: string,
  isTelling: (line: string) => boolean = () => true,
  unitsMax: number = Number.POSITIVE_INFINITY,
): string[] {
  // Halves of characters can't be encoded.
  const value = Buffer.from(given).toString()
  const forms = new Set<string>()
  let left = unitsMax
  const add = (form: string) => {
    if (!forms.has(form)) left -= form.length
    forms.add(form)
  }
  const parts = partsOf(value, isTelling)
  for (const part of parts) {
    if (left <= 0) break
    add(part)
    add(printable(part))
  }
  if (left > 0) for (const form of base64Forms(value)) add(form)
  for (const part of parts) {
    if (left <= 0) break
    if (part.length <= LIMITS.secretEncodedLength) for (const form of encodings(part)) add(form)
  }
  return [...forms].map(withoutBreaks).filter((form) => form.length >= SHORTEST_SECRET)
}

export interface GatheredForms {
  /** Each once, with the place in the list of the value that it is a form of. */
  readonly forms: readonly { readonly form: string; readonly of: number }[]
  /** False when not even the most telling form of every value had room. */
  readonly isComplete: boolean
}

/** So much of one value is looked at in any case. */
const LEAST_UNITS = 4096

/** The most telling forms of all values before the others of any, within `unitsMax` characters together. Pauses between values. */
export function* gatherForms(
  values: readonly string[],
  unitsMax: number,
  isTelling?: (line: string) => boolean,
): Generator<void, GatheredForms> {
  const each = Math.max(LEAST_UNITS, Math.floor((unitsMax * 4) / Math.max(1, values.length)))
  let lists: { readonly of: number; readonly forms: readonly string[] }[] = []
  for (const [of, value] of values.entries()) {
    lists.push({ of, forms: secretForms(value, isTelling, each) })
    yield
  }
  const forms = new Map<string, number>()
  let length = 0
  let isComplete = true
  for (let rank = 0; lists.length > 0; rank++) {
    lists = lists.filter((list) => rank < list.forms.length)
    for (const list of lists) {
      const form = list.forms[rank] ?? ''
      if (forms.has(form)) continue
      if (length + form.length > unitsMax) {
        if (rank === 0) isComplete = false
        continue
      }
      forms.set(form, list.of)
      length += form.length
    }
    if (length + SHORTEST_SECRET > unitsMax) break
    yield
  }
  return { forms: [...forms].map(([form, of]) => ({ form, of })), isComplete }
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
