import type { IncomingHttpHeaders } from 'node:http'
import { typeByName } from './media-type.ts'

/** What a navigation fills with a page. */
const PAGE_PLACES = new Set(['document', 'iframe', 'frame', 'embed', 'object'])

/**
 * Whether whoever asks would take a page in place of a missing file: someone who follows a link, not a script that wants a module. A page
 * in place of a script or a picture hides that it is missing and is kept by caches under its name.
 */
export function wantsPage(path: string, headers: IncomingHttpHeaders): boolean {
  const place = headers['sec-fetch-dest']
  if (typeof place === 'string' && !PAGE_PLACES.has(place)) return false
  if (!acceptsPage(headers.accept)) return false
  const name = path.slice(path.lastIndexOf('/') + 1)
  if (typeByName(name) !== null) return false
  // `/users/jane.doe` is asked for by name by a browser; a program that takes anything asks for a file.
  return isNamed(headers.accept) || !/\.[A-Za-z][A-Za-z0-9]{0,9}$/.test(name)
}

function isNamed(accept: string | undefined): boolean {
  return accept !== undefined && /\btext\/html\b/i.test(accept)
}

function acceptsPage(accept: string | undefined): boolean {
  if (accept === undefined || accept.trim() === '') return true
  return weight(accept, ['text/html', 'text/*', '*/*']) > 0
}

/** Whether a coding may be sent, and how much it is liked. */
export function codingWeight(header: string | undefined, coding: string): number {
  return header === undefined ? 0 : weight(header, [coding, '*'])
}

/** The q of the first of `names` that the list holds; 0 = refused or not named. */
function weight(list: string, names: readonly string[]): number {
  const weights = new Map<string, number>()
  for (const item of list.toLowerCase().split(',', 100)) {
    const [name = '', ...parameters] = item.split(';').map((part) => part.trim())
    const q = parameters.find((part) => part.startsWith('q='))
    const value = q === undefined ? 1 : Number(q.slice(2))
    weights.set(name, Number.isFinite(value) ? value : 0)
  }
  for (const name of names) {
    const found = weights.get(name)
    if (found !== undefined) return found
  }
  return 0
}
