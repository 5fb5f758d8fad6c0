import { z } from 'zod'
import { LIMITS } from '../../core/limits.ts'
import { nearest } from '../nearest.ts'
import { type ConfigProblem, formatPath, type Path, type Position } from './problem.ts'

type Issue = z.core.$ZodIssue
type Locate = (path: Path) => Position | null

/** Keys that people bring from other tools, and what they are called here. */
const OTHER_WORDS: Readonly<Record<string, string>> = {
  startCommands: 'start',
  startCommand: 'start',
  command: 'start',
  cmd: 'start',
  environment: 'env',
  envVariables: 'env',
  variables: 'env',
  replicas: 'instances',
  scale: 'instances',
  count: 'instances',
  memory: 'memoryMb',
  ports: 'port',
  regions: 'region',
  static: 'staticRoot',
  documentRoot: 'staticRoot',
  period: 'execPeriod',
  interval: 'execPeriod',
  ignore: 'waivers',
}

/**
 * Checks data against a schema of strict objects and says everything that is wrong, with its place. Keys that begin with `x-` are
 * left out first (not in maps of names, where they are names). A section without content (`run:` and nothing below) is an empty one.
 */
export function check<Schema extends z.ZodType>(
  schema: Schema,
  data: unknown,
  locate: Locate,
):
  | { readonly value: z.output<Schema>; readonly problems: readonly [] }
  | { readonly value: null; readonly problems: readonly ConfigProblem[] } {
  const normalizer = new Normalizer(locate)
  const normalized = normalizer.normalize(data, schema, [])
  if (normalizer.problems.length > 0) return { value: null, problems: normalizer.problems }
  const result = schema.safeParse(normalized)
  if (result.success) return { value: result.data, problems: [] }
  return { value: null, problems: result.error.issues.flatMap((issue) => problemsOf(issue, [], schema, locate)) }
}

class Normalizer {
  readonly problems: ConfigProblem[] = []
  readonly #locate: Locate
  readonly #ancestors = new Set<object>()
  #nodes = 0

  constructor(locate: Locate) {
    this.#locate = locate
  }

  normalize(value: unknown, schema: z.ZodType | null, path: Path): unknown {
    this.#nodes += 1
    if (value === null || typeof value !== 'object' || this.problems.length > 0) return value
    if (this.#nodes > LIMITS.configNodes) return this.#refuse(path, `holds too much: more than ${LIMITS.configNodes} values`)
    if (path.length > LIMITS.configDepth) return this.#refuse(path, 'is nested too deeply')
    if (this.#ancestors.has(value)) return this.#refuse(path, 'contains itself by an alias')
    this.#ancestors.add(value)
    const shaped = optionFor(schema, value)
    const result = Array.isArray(value)
      ? value.map((item, index) => this.normalize(item, step(shaped, index), [...path, index]))
      : this.#normalizeMap(value, shaped, path)
    this.#ancestors.delete(value)
    return result
  }

  #normalizeMap(value: object, schema: z.ZodType | null, path: Path): unknown {
    const entries: [string, unknown][] = []
    for (const [key, child] of Object.entries(value)) {
      const childPath = [...path, key]
      if (key === '__proto__') this.#refuse(childPath, 'is not allowed as a key')
      const isSection = !(schema instanceof z.ZodRecord)
      if (isSection && key.startsWith('x-')) continue
      const childSchema = step(schema, key)
      if (child === null && childSchema !== null && isContainer(childSchema)) entries.push([key, {}])
      else if (isSection && child === null && childSchema !== null) this.#refuse(childPath, 'has no value')
      else entries.push([key, this.normalize(child, childSchema, childPath)])
    }
    return Object.fromEntries(entries)
  }

  #refuse(path: Path, message: string): null {
    this.problems.push({ path: formatPath(path), position: this.#locate(path), message })
    return null
  }
}

/** A union stands for the option that its reader chose: of several problems, theirs are the ones of the option whose kind fits. */
function problemsOf(issue: Issue, prefix: Path, schema: z.ZodType, locate: Locate): ConfigProblem[] {
  const path = [...prefix, ...(issue.path as (string | number)[])]
  const at = (where: Path, message: string): ConfigProblem => ({ path: formatPath(where), position: locate(where), message })
  switch (issue.code) {
    case 'unrecognized_keys': {
      const known = knownKeys(schemaAt(schema, path))
      return issue.keys.map((key) => at([...path, key], unknownKey(key, known)))
    }
    case 'invalid_union': {
      const chosen = issue.errors.find((option) => option.some((inner) => inner.path.length > 0 || inner.code === 'unrecognized_keys'))
      const same = issue.errors.find(
        (option) => option.length > 0 && option.every((inner) => !['invalid_type', 'invalid_value'].includes(inner.code)),
      )
      const option = chosen ?? same
      return option === undefined ? [at(path, issue.message)] : option.flatMap((inner) => problemsOf(inner, path, schema, locate))
    }
    case 'invalid_key':
      return issue.issues.map((inner) => at(path, inner.message))
    default:
      return [at(path, issue.message)]
  }
}

function unknownKey(key: string, known: readonly string[]): string {
  const other = OTHER_WORDS[key]
  const suggestion = other !== undefined && known.includes(other) ? other : nearest(key, known)
  const hint = suggestion === null ? '' : `, did you mean ${suggestion}?`
  return `is an unknown key${hint} Allowed here: ${known.join(', ')}`.replace(/key Allowed/, 'key. Allowed')
}

function unwrap(schema: z.ZodType | null): z.ZodType | null {
  let inner = schema
  while (inner instanceof z.ZodOptional) inner = inner.unwrap() as z.ZodType
  return inner
}

/** The option of a union that a value of this kind belongs to. */
function optionFor(schema: z.ZodType | null, value: unknown): z.ZodType | null {
  const inner = unwrap(schema)
  if (!(inner instanceof z.ZodUnion)) return inner
  const options = inner.options as readonly z.ZodType[]
  return options.find((option) => (Array.isArray(value) ? option instanceof z.ZodArray : isContainer(option))) ?? null
}

function isContainer(schema: z.ZodType): boolean {
  const inner = unwrap(schema)
  if (inner instanceof z.ZodUnion) return (inner.options as readonly z.ZodType[]).some((option) => isContainer(option))
  return inner instanceof z.ZodObject || inner instanceof z.ZodRecord
}

function step(schema: z.ZodType | null, key: string | number): z.ZodType | null {
  const inner = unwrap(schema)
  if (inner instanceof z.ZodObject)
    return Object.hasOwn(inner.shape, key) ? ((inner.shape as Record<string, z.ZodType>)[key] ?? null) : null
  if (inner instanceof z.ZodRecord) return inner.valueType as z.ZodType
  if (inner instanceof z.ZodArray) return inner.element as z.ZodType
  if (inner instanceof z.ZodUnion) return step(optionFor(inner, typeof key === 'number' ? [] : {}), key)
  return null
}

function schemaAt(schema: z.ZodType, path: Path): z.ZodType | null {
  return path.reduce<z.ZodType | null>((at, key) => step(at, key), schema)
}

function knownKeys(schema: z.ZodType | null): readonly string[] {
  const inner = optionFor(schema, {})
  return inner instanceof z.ZodObject ? Object.keys(inner.shape) : []
}
