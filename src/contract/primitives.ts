import { z } from 'zod'

/** NUL, control characters but tab and line breaks, and half a surrogate pair: PostgreSQL can't store them, terminals obey them (I9). */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this looks for
const UNSTORABLE = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]|\p{Surrogate}/u

/** Text from outside, bounded (I12). */
export const text = (max: number) =>
  z
    .string()
    .max(max)
    .refine((value) => !UNSTORABLE.test(value), 'holds control characters or broken Unicode')

/** Project, environment and service names: one DNS label, since host names are made of them. */
export const name = z
  .string()
  .max(40)
  .regex(/^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/, 'is not a name: lower-case letters, digits and inner hyphens, at most 40')
  .meta({ description: 'Lower-case letters, digits and inner hyphens, at most 40.' })

/** As the configuration file takes it: it begins with a letter. */
export const serviceName = name.regex(/^[a-z]/, 'is not a service name: it begins with a letter')

export const id = z
  .string()
  .max(64)
  .regex(/^[A-Za-z0-9_-]+$/, 'is not an id')
export const timestamp = z.iso.datetime().meta({ description: 'ISO 8601, UTC.' })
export const digest = z
  .string()
  .regex(/^sha256:[0-9a-f]{64}$/, 'is not a digest: sha256:<64 hex digits>')
  .meta({ description: 'sha256:<64 hex digits>' })

/** One page of a list. `next` is given back as `cursor` (or `after`) to continue; null at the end. */
export const page = <Item extends z.ZodType>(item: Item) => z.strictObject({ items: z.array(item), next: z.string().nullable() })
export interface Page<Item> {
  readonly items: readonly Item[]
  readonly next: string | null
}

const PAGE_SIZE_DEFAULT = 50
const PAGE_SIZE_MAX = 200
const INTEGER = /^\d{1,16}$/
export const INTEGER_PATTERN = INTEGER.source
/** Numbers in a query string are text. */
export const integer = (min: number, max: number) =>
  z.string().regex(INTEGER, 'is not a whole number').transform(Number).pipe(z.number().int().min(min).max(max))
export const limit = integer(1, PAGE_SIZE_MAX)
  .default(PAGE_SIZE_DEFAULT)
  .meta({ description: `1 to ${PAGE_SIZE_MAX}, ${PAGE_SIZE_DEFAULT} when left out.` })
export const flag = z.enum(['true', 'false']).transform((value) => value === 'true')

/** Of a query: which project and environment is meant. Left out = the server's defaults. */
export const scope = { project: name.optional(), environment: name.optional() }
