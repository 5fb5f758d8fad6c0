import fc from 'fast-check'
import { z } from 'zod'

type Schema = Readonly<Record<string, unknown>> & {
  readonly type?: string
  readonly properties?: Readonly<Record<string, Schema>>
  readonly required?: readonly string[]
  readonly items?: Schema
  readonly anyOf?: readonly Schema[]
  readonly oneOf?: readonly Schema[]
  readonly additionalProperties?: boolean | Schema
  readonly propertyNames?: Schema
}

/** What satisfies the documented schema of an input, as a client that was generated from the OpenAPI document would send it. */
export function inputOf(schema: z.ZodType): fc.Arbitrary<unknown> {
  const { $defs = {}, ...root } = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as Schema & {
    $defs?: Record<string, Schema>
  }
  return arbitraryOf(root as Schema, $defs as Record<string, Schema>)
}

/** The same, with one to three of its places made wrong: another type, a hostile text, a key too many, a key missing. */
export function nearInputOf(schema: z.ZodType): fc.Arbitrary<unknown> {
  return fc.tuple(inputOf(schema), fc.array(fc.tuple(fc.nat(), hostile), { minLength: 1, maxLength: 3 })).map(([input, changes]) => {
    let changed: unknown = input
    for (const [place, value] of changes) changed = replaceAt(changed, place, value)
    return changed
  })
}

/** What programs stumble over. */
export const hostile: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    true,
    -1,
    0.5,
    1e308,
    Number.MAX_SAFE_INTEGER + 1,
    '',
    '\u0000',
    '\ud800',
    '..',
    '-x',
    '__proto__',
    'constructor',
    '\u001b[2J',
  ),
  fc.constantFrom<unknown>([], {}, [[]], 'x'.repeat(5000), "'; drop table projects; --", '2026-13-45T99:99:99Z', '%00', '\u202eabc'),
  fc.string({ unit: 'binary', maxLength: 30 }),
  fc.jsonValue({ maxDepth: 2 }),
)

const LIST_MAX = 3
const TEXT_MAX = 60

function arbitraryOf(schema: Schema, definitions: Readonly<Record<string, Schema>>): fc.Arbitrary<unknown> {
  const at = (inner: Schema) => arbitraryOf(inner, definitions)
  const ref = /^#\/\$defs\/(.+)$/.exec(String(schema.$ref ?? ''))?.[1]
  if (ref !== undefined) return at(definitions[ref] ?? {})
  if ('const' in schema) return fc.constant(schema.const)
  if (Array.isArray(schema.enum)) return fc.constantFrom(...schema.enum)
  const options = schema.anyOf ?? schema.oneOf
  if (options !== undefined) return fc.oneof(...options.map(at))
  switch (schema.type) {
    case 'object':
      return objectOf(schema, at)
    case 'array':
      return fc.array(schema.items === undefined ? fc.jsonValue({ maxDepth: 1 }) : at(schema.items), { maxLength: LIST_MAX })
    case 'string':
      return stringOf(schema)
    case 'integer':
    case 'number':
      return fc.integer({ min: numberOr(schema.minimum, -1000), max: Math.min(numberOr(schema.maximum, 1_000_000), 1_000_000_000) })
    case 'boolean':
      return fc.boolean()
    case 'null':
      return fc.constant(null)
    default:
      return fc.jsonValue({ maxDepth: 1 })
  }
}

function objectOf(schema: Schema, at: (inner: Schema) => fc.Arbitrary<unknown>): fc.Arbitrary<unknown> {
  const { properties = {}, required = [], additionalProperties, propertyNames } = schema
  const fields = fc.record(Object.fromEntries(Object.entries(properties).map(([key, inner]) => [key, at(inner)])), {
    requiredKeys: [...required],
  })
  if (typeof additionalProperties !== 'object') return fields
  const key = propertyNames === undefined ? fc.string({ minLength: 1, maxLength: 10 }) : (at(propertyNames) as fc.Arbitrary<string>)
  return fc.tuple(fields, fc.dictionary(key, at(additionalProperties), { maxKeys: LIST_MAX })).map(([own, more]) => ({ ...more, ...own }))
}

function stringOf(schema: Schema): fc.Arbitrary<string> {
  if (schema.format === 'date-time') {
    return fc.date({ min: new Date(0), max: new Date('2100-01-01'), noInvalidDate: true }).map((date) => date.toISOString())
  }
  const [pattern, ...others] = patternsOf(schema)
  if (pattern !== undefined) {
    const isFine = (text: string) => text.length <= numberOr(schema.maxLength, TEXT_MAX * 2) && others.every((other) => other.test(text))
    return fc.stringMatching(pattern, { size: 'xsmall' }).filter(isFine)
  }
  return fc.string({ minLength: numberOr(schema.minLength, 0), maxLength: Math.min(numberOr(schema.maxLength, TEXT_MAX), TEXT_MAX) })
}

/** Several patterns of one text stand side by side; the most telling first. */
function patternsOf(schema: Schema): RegExp[] {
  const all = [schema, ...((schema.allOf as readonly Schema[] | undefined) ?? [])].flatMap(({ pattern }) =>
    typeof pattern === 'string' ? [pattern] : [],
  )
  return all.sort((a, b) => b.length - a.length).map((pattern) => new RegExp(pattern))
}

const numberOr = (value: unknown, otherwise: number) => (typeof value === 'number' ? value : otherwise)

/** Replaces, adds to or removes from the `place`-th value of a tree, counted from its root. */
function replaceAt(tree: unknown, place: number, value: unknown): unknown {
  if (typeof tree !== 'object' || tree === null || Array.isArray(tree)) return value
  const keys = Object.keys(tree)
  const choice = place % (keys.length + 2)
  if (choice === keys.length) return { ...tree, [typeof value === 'string' ? value : 'more']: value }
  if (choice > keys.length) return Object.fromEntries(Object.entries(tree).slice(1))
  const key = keys[choice] ?? ''
  return { ...tree, [key]: replaceAt((tree as Record<string, unknown>)[key], Math.floor(place / (keys.length + 2)), value) }
}
