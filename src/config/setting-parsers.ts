import { isAbsolute } from 'node:path'
import { DURATION_FORMS, formatDuration, parseDuration } from './duration.ts'
import { type ListenAddress, parseListenAddress } from './listen-address.ts'

/** A value, or what is wrong with the text, as the end of a sentence. */
export type Parsed<T> = { readonly value: T } | { readonly problem: string }

export function absolutePath(text: string): Parsed<string> {
  return isAbsolute(text) && !text.includes('\0') ? { value: text } : { problem: 'must be an absolute path' }
}

export function wholeNumber(text: string, min: number, max: number): Parsed<number> {
  const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN
  return value >= min && value <= max ? { value } : { problem: `must be a whole number from ${min} to ${max}` }
}

export function duration(text: string, minMs: number, maxMs: number): Parsed<number> {
  const value = parseDuration(text)
  if (value === null) return { problem: `must be ${DURATION_FORMS}` }
  if (value < minMs || value > maxMs) return { problem: `must be between ${formatDuration(minMs)} and ${formatDuration(maxMs)}` }
  return { value }
}

export function listenAddress(text: string): Parsed<ListenAddress> {
  const value = parseListenAddress(text)
  return value === null ? { problem: 'must be an IP address and a port (0 = any free port), or a port alone' } : { value }
}

export function oneOf<Word extends string>(text: string, words: readonly Word[]): Parsed<Word> {
  const value = words.find((word) => word === text.toLowerCase())
  return value === undefined ? { problem: `must be one of ${words.join(', ')}` } : { value }
}

export function trueOrFalse(text: string): Parsed<boolean> {
  const word = text.toLowerCase()
  if (['true', '1', 'yes', 'on'].includes(word)) return { value: true }
  if (['false', '0', 'no', 'off'].includes(word)) return { value: false }
  return { problem: 'must be true or false' }
}

export function parseDomain(text: string): Parsed<string> {
  const label = '[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?'
  const name = text.toLowerCase().replace(/\.$/, '')
  if (name.length > 200 || !new RegExp(`^${label}(\\.${label})*$`).test(name))
    return { problem: 'must be a domain name, without scheme, port or wildcard' }
  return { value: name }
}
