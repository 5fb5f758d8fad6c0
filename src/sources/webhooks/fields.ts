import { ShiplockError } from '../../core/errors.ts'

/**
 * An object of a payload, read by name and type. Only its own keys count (never what a prototype has), and what is missing or of
 * another type is named by its path. `null` counts as missing.
 */
export interface Fields {
  /** Throws when missing. */
  object(key: string): Fields
  text(key: string): string
  integer(key: string): number
  list(key: string): readonly unknown[]
  /** Missing is null; another type is an error. */
  optionalObject(key: string): Fields | null
  optionalText(key: string): string | null
  optionalInteger(key: string): number | null
  optionalBoolean(key: string): boolean | null
  optionalList(key: string): readonly unknown[] | null
}

export function fieldsOf(value: unknown, at: string): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw wrong(at, 'an object')
  const read = <T>(key: string, what: string, isRight: (found: unknown) => found is T): T | null => {
    const found: unknown = Object.hasOwn(value, key) ? (value as Record<string, unknown>)[key] : undefined
    if (found === undefined || found === null) return null
    if (!isRight(found)) throw wrong(`${at}.${key}`, what)
    return found
  }
  const optionalObject = (key: string) => {
    const found = read(key, 'an object', (item): item is object => typeof item === 'object')
    return found === null ? null : fieldsOf(found, `${at}.${key}`)
  }
  const optionalText = (key: string) => read(key, 'text', (item): item is string => typeof item === 'string')
  const optionalInteger = (key: string) => read(key, 'a whole number', (item): item is number => Number.isSafeInteger(item))
  const optionalList = (key: string) => read(key, 'a list', (item): item is unknown[] => Array.isArray(item))
  const needed = <T>(key: string, what: string, found: T | null): T => {
    if (found === null) throw wrong(`${at}.${key}`, what)
    return found
  }
  return {
    object: (key) => needed(key, 'an object', optionalObject(key)),
    text: (key) => needed(key, 'text', optionalText(key)),
    integer: (key) => needed(key, 'a whole number', optionalInteger(key)),
    list: (key) => needed(key, 'a list', optionalList(key)),
    optionalObject,
    optionalText,
    optionalInteger,
    optionalBoolean: (key) => read(key, 'true or false', (item): item is boolean => typeof item === 'boolean'),
    optionalList,
  }
}

/** `at` is made of our own key names, never of text from the payload. */
export function wrong(at: string, what: string): ShiplockError {
  return new ShiplockError('INPUT_INVALID', `webhook: ${at} is not ${what}`, {
    hint: 'Choose the provider of the webhook to match the git host that sends it.',
    details: { field: at },
  })
}
