import { z } from 'zod'
import { nearest } from '../config/nearest.ts'
import { ShiplockError } from '../core/errors.ts'
import { printable } from '../core/printable.ts'

export type InputPlace = 'path' | 'query' | 'body'

/** Parses input at the rim. The refusal names the place, says what was expected, and the key that was probably meant (I9). */
export function parseInput<Schema extends z.ZodType>(schema: Schema, input: unknown, place: InputPlace): z.output<Schema> {
  const result = schema.safeParse(input)
  if (result.success) return result.data
  const problems = result.error.issues.slice(0, PROBLEMS_MAX).map((issue) => describe(schema, issue, place))
  throw new ShiplockError('INPUT_INVALID', problems.map((problem) => `${problem.path}: ${problem.message}`).join('; '), {
    details: { problems },
  })
}
const PROBLEMS_MAX = 10
const SHOWN_MAX = 60

function describe(schema: z.ZodType, issue: z.core.$ZodIssue, place: InputPlace): { path: string; message: string } {
  const path = [place, ...issue.path.map((part) => shown(String(part)))].join('.')
  if (issue.code === 'unrecognized_keys') {
    const known = keysAt(schema, issue.path)
    const message = issue.keys.slice(0, PROBLEMS_MAX).map((key) => {
      const meant = nearest(key.slice(0, SHOWN_MAX), known)
      return `unknown key ${shown(key)}${meant === null ? '' : `, did you mean ${meant}?`}`
    })
    return { path, message: message.join('; ') }
  }
  if (issue.code === 'invalid_key') return { path, message: issue.issues[0]?.message ?? issue.message }
  return { path, message: issue.message }
}

function shown(key: string): string {
  const harmless = printable(key)
  return harmless.length > SHOWN_MAX ? `${harmless.slice(0, SHOWN_MAX)}…` : harmless
}

/** Keys that the object at `path` may have; of a union, those of all its options. */
function keysAt(schema: z.ZodType, path: readonly PropertyKey[]): string[] {
  const inner = unwrap(schema)
  if (inner instanceof z.ZodDiscriminatedUnion || inner instanceof z.ZodUnion) {
    return inner.options.flatMap((option) => keysAt(option as z.ZodType, path))
  }
  if (!(inner instanceof z.ZodObject)) return []
  const [key, ...rest] = path
  if (key === undefined) return Object.keys(inner.shape)
  const next: z.ZodType | undefined = inner.shape[String(key)]
  return next === undefined ? [] : keysAt(next, rest)
}

function unwrap(schema: z.ZodType): z.ZodType {
  let inner = schema
  while (inner instanceof z.ZodOptional || inner instanceof z.ZodNullable || inner instanceof z.ZodDefault)
    inner = inner.unwrap() as z.ZodType
  return inner
}
