import { z } from 'zod'
import { serviceDefaults } from '../service-defaults.ts'
import { manifestSchema } from './schema.ts'

type JsonSchema = Record<string, unknown>

/**
 * The native file's JSON Schema, as editors and other tools take it, published as `schema/shiplock.schema.json`.
 * It says all that JSON Schema can say; what only the parser knows (one of dockerfile, image and recipe) it leaves to the parser.
 */
export function manifestJsonSchema(): JsonSchema {
  const schema = z.toJSONSchema(manifestSchema, {
    target: 'draft-7',
    io: 'input',
    reused: 'inline',
    override: ({ jsonSchema, zodSchema, path }) => {
      // `x-` keys are for the reader, wherever a section stands.
      if (zodSchema._zod.def.type === 'object') jsonSchema.patternProperties = { '^x-': {} }
      if (path.at(-1) === 'timeout' || DURATION_KEYS.has(String(path.at(-1)))) jsonSchema.examples = ['30s', '15m', '1h']
    },
  }) as JsonSchema
  annotateDefaults(schema)
  return { ...schema, title: 'Shiplock', description: 'Configuration of the services of a repository: shiplock.yaml' }
}

/** Editors complete these. */
const DURATION_KEYS: ReadonlySet<string> = new Set([
  'releaseCommandTimeout',
  'drainTimeout',
  'bake',
  'standby',
  'stopTimeout',
  'retryPeriod',
  'failureTimeout',
  'attemptTimeout',
  'execPeriod',
  'disconnectTimeout',
  'recoveryTimeout',
])

function annotateDefaults(schema: JsonSchema): void {
  const service = child(child(child(schema, 'properties'), 'services'), 'additionalProperties')
  for (const [path, value] of serviceDefaults()) {
    const node = path.split('.').reduce<JsonSchema | null>((at, key) => child(child(section(at), 'properties'), key), service)
    if (node !== null && value !== null) node.default = value
  }
}

function child(node: JsonSchema | null, key: string): JsonSchema | null {
  return (node?.[key] as JsonSchema | undefined) ?? null
}

/** `scan` is a section or a word. */
function section(node: JsonSchema | null): JsonSchema | null {
  return (node?.anyOf as JsonSchema[] | undefined)?.find((option) => option.properties !== undefined) ?? node
}

/** The file as it is published. */
export function manifestJsonSchemaText(): string {
  return `${JSON.stringify(manifestJsonSchema(), null, 2)}\n`
}
