import { z } from 'zod'
import { patternProblem } from '../../core/glob.ts'
import { LIMITS } from '../../core/limits.ts'
import { DURATION_FORMS, formatDuration, parseDuration } from '../duration.ts'
import { variableNameProblem } from '../variable-name.ts'

/** Building blocks of the manifest's schema. Messages complete the sentence `<path> …`. */

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this refuses
const CONTROL = /[\u0000-\u001f\u007f]/
// biome-ignore lint/suspicious/noControlCharactersInRegex: as above; a command may hold newlines and tabs
const CONTROL_BUT_WHITESPACE = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/

export const SERVICE_NAME = /^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$/
export const SERVICE_NAME_RULE = 'lower case letters, digits and dashes, at most 40, beginning with a letter and not ending with a dash'

/** `minMs` and `maxMs` are inclusive; 0 is allowed where it means "off" or "at once". */
export function duration(minMs: number, maxMs: number) {
  return z.union([z.number(), z.string()], { error: `must be ${DURATION_FORMS}` }).superRefine((value, context) => {
    const ms = parseDuration(value)
    if (ms === null) context.addIssue({ code: 'custom', message: `must be ${DURATION_FORMS}` })
    else if (ms < minMs || ms > maxMs)
      context.addIssue({ code: 'custom', message: `must be between ${formatDuration(minMs)} and ${formatDuration(maxMs)}` })
  })
}

export function wholeNumber(min: number, max: number) {
  const error = `must be a whole number from ${min} to ${max}`
  return z.number({ error }).int({ error }).min(min, { error }).max(max, { error })
}

export const trueOrFalse = z.boolean({ error: 'must be true or false' })

export function oneOf<const Values extends readonly [string, ...string[]]>(values: Values) {
  return z.enum(values, { error: `must be one of ${values.join(', ')}` })
}

/** One line without control characters. */
export function line(what: string, max = 1024) {
  return z
    .string({ error: `must be ${what}` })
    .min(1, { error: `must be ${what}, not an empty text` })
    .max(max, { error: `must be ${what} of at most ${max} characters` })
    .refine((text) => !CONTROL.test(text), { error: `must be ${what} on one line, without control characters` })
}

export const command = z
  .string({ error: 'must be a command (text)' })
  .refine((text) => text.trim() !== '', { error: 'must be a command, not an empty text' })
  .max(LIMITS.commandCharacters, {
    error: `must be a command of at most ${LIMITS.commandCharacters} characters; put longer ones in a script`,
  })
  .refine((text) => !CONTROL_BUT_WHITESPACE.test(text), { error: 'must be a command without control characters' })

/** One item or a list of them. */
export function oneOrMany<Item extends z.ZodType<string>>(item: Item, what: string) {
  return z.union([item, z.array(item).max(LIMITS.configListItems, { error: `must be a list of at most ${LIMITS.configListItems}` })], {
    error: `must be ${what} or a list of them`,
  })
}

export const commands = oneOrMany(command, 'a command')

/** Why a path may not be used; null when it may. Paths in a manifest stay inside the source. */
export function relativePathProblem(path: string): string | null {
  if (path.startsWith('/')) return 'must be relative to the source, without a leading /'
  if (path.includes('\\')) return 'must use / between directories'
  if (path.split('/').includes('..')) return 'must stay inside the source: `..` is not allowed'
  return null
}

export const relativePath = line('a path inside the source').superRefine((path, context) => {
  const problem = relativePathProblem(path)
  if (problem !== null) context.addIssue({ code: 'custom', message: problem })
})

/** A path with wildcards; one that no matcher would take is refused where it is written. */
const pathPattern = relativePath.superRefine((pattern, context) => {
  const problem = patternProblem(pattern)
  if (problem !== null) context.addIssue({ code: 'custom', message: problem })
})
export const pathPatterns = oneOrMany(pathPattern, 'a path')

export const port = wholeNumber(1, 65_535)

/** A request path as it goes on the wire: no white space, nothing that could end the request line. */
export const requestPath = line('a path that begins with /, e.g. /healthz', 2048).regex(/^\/[\x21-\x7e]*$/, {
  error: 'must begin with / and hold no spaces or special characters, e.g. /healthz',
})

/** A path of a static site; a `*` at its end takes the rest, `:name` one part. */
export const sitePath = line('a path that begins with /, e.g. /old/*', 1024).regex(/^\/[^\s*]*\*?$/, {
  error: 'must begin with / and hold no spaces, and a * only at its end, e.g. /old/*',
})

/** Header fields of answers. What frames or encodes an answer is not the site's to say. */
export const headerValues = z
  .record(
    z
      .string()
      .max(128, { error: 'must be a header name of at most 128 characters' })
      .regex(/^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/, { error: 'must be a header name' })
      .refine((name) => !/^(connection|content-(encoding|length|range)|date|keep-alive|trailer|transfer-encoding|upgrade)$/i.test(name), {
        error: 'is set by the server',
      }),
    line('the value of a header', 4096).regex(/^[\x20-\x7e]*$/, { error: 'must be the value of a header, in ASCII' }),
    { error: 'must be a map of Name: value' },
  )
  .refine((map) => Object.keys(map).length <= LIMITS.configListItems, { error: `must hold at most ${LIMITS.configListItems} headers` })

export const hostName = line('a host name', 253).regex(/^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$/, {
  error: 'must be a host name, e.g. app.example.com',
})

/** Environment variables. Values stay as they are written: `1.10` is not turned into 1.1. */
export const variables = z
  .record(
    z.string().superRefine((name, context) => {
      const problem = variableNameProblem(name)
      if (problem !== null) context.addIssue({ code: 'custom', message: problem })
    }),
    z
      .union([z.string(), z.number(), z.boolean()], {
        error: 'must be a text, a number, or true or false; write "" for an empty value',
      })
      .superRefine((value, context) => {
        const text = String(value)
        if (text.includes('\0')) context.addIssue({ code: 'custom', message: 'must not hold a NUL character' })
        if (Buffer.byteLength(text) > LIMITS.variableValueBytes)
          context.addIssue({ code: 'custom', message: `must be at most ${LIMITS.variableValueBytes} bytes` })
      }),
    { error: 'must be a map of NAME: value' },
  )
  .refine((map) => Object.keys(map).length <= LIMITS.variables, { error: `must hold at most ${LIMITS.variables} variables` })
