import { z } from 'zod'
import { INTEGER_PATTERN } from './primitives.ts'
import { Problem } from './problem.ts'
import type { RouteSpec } from './route.ts'
import { ROUTES } from './routes.ts'

type Json = Record<string, unknown>

/** The OpenAPI 3.1 document of `ROUTES`. */
export function openApiDocument(version: string): Json {
  const schemas = new Schemas()
  const paths: Record<string, Json> = {}
  for (const [operationId, spec] of Object.entries<RouteSpec>(ROUTES)) {
    paths[spec.path] = { ...paths[spec.path], [spec.method]: operation(operationId, spec, schemas) }
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Shiplock',
      version,
      description: 'Deployments as resources: queue, logs, events, releases, rollbacks. Errors are RFC 9457 problems with a stable `code`.',
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: '/' }],
    security: [{ token: [] }],
    paths,
    components: {
      securitySchemes: { token: { type: 'http', scheme: 'bearer' } },
      responses: { Problem: { description: 'What went wrong', content: { 'application/problem+json': { schema: schemas.of(Problem) } } } },
      schemas: schemas.all,
    },
  }
}

/** Named schemas stand once, under components; everything else refers to them. */
class Schemas {
  readonly all: Record<string, unknown> = {}

  of(schema: z.ZodType, io: 'input' | 'output' = 'output'): Json {
    const { $schema: _dialect, $defs, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: 'any' }) as Json & { $defs?: Json }
    const name = rest.id as string | undefined
    for (const [key, definition] of Object.entries($defs ?? {})) this.all[key] ??= rewrite(definition)
    const body = rewrite(rest) as Json
    if (name === undefined) return body
    this.all[name] ??= body
    return { $ref: `#/components/schemas/${name}` }
  }
}

/** `#/$defs/X` becomes `#/components/schemas/X`; zod's `id` is a name here, not a JSON Schema identifier. */
function rewrite(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(rewrite)
  if (typeof value !== 'object' || value === null) return value
  const isNamed = 'id' in value && typeof value.id === 'string'
  const entries = Object.entries(value).filter(([key]) => !(isNamed && key === 'id'))
  return Object.fromEntries(
    entries.map(([key, inner]) =>
      key === '$ref' && typeof inner === 'string' ? [key, inner.replace('#/$defs/', '#/components/schemas/')] : [key, rewrite(inner)],
    ),
  )
}

function operation(operationId: string, spec: RouteSpec, schemas: Schemas): Json {
  const parameters = [
    ...parametersIn('path', spec.params, schemas),
    ...parametersIn('query', spec.query, schemas),
    ...(spec.method === 'post' && spec.body !== 'archive' ? [IDEMPOTENCY_KEY] : []),
    ...(spec.stream === undefined ? [] : [LAST_EVENT_ID]),
  ]
  return {
    operationId,
    summary: spec.summary,
    tags: [spec.tag],
    ...(spec.needs === undefined ? { security: [] } : { 'x-needs': spec.needs.verb }),
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(spec.body === undefined ? {} : { requestBody: requestBody(spec.body, schemas) }),
    responses: { [spec.status]: response(spec, schemas), default: { $ref: '#/components/responses/Problem' } },
  }
}

const IDEMPOTENCY_KEY = {
  name: 'Idempotency-Key',
  in: 'header',
  required: false,
  description: 'The same key with the same request gets the same answer, whatever was lost on the way; with another request, CONFLICT.',
  schema: { type: 'string', minLength: 1, maxLength: 200 },
}
const LAST_EVENT_ID = {
  name: 'Last-Event-ID',
  in: 'header',
  required: false,
  description: 'Of a stream: continue after this id, with nothing lost and nothing twice.',
  schema: { type: 'string' },
}

function parametersIn(place: 'path' | 'query', object: z.ZodObject | undefined, schemas: Schemas): Json[] {
  if (object === undefined) return []
  return Object.entries(object.shape).map(([name, schema]) => ({
    name,
    in: place,
    required: place === 'path',
    schema: parameterSchema(schemas.of(schema as z.ZodType, 'input')),
  }))
}

/** A number in a query string is text to the parser, a number to everybody else. */
function parameterSchema({ pattern, type, ...rest }: Json): Json {
  return pattern === INTEGER_PATTERN
    ? { ...rest, type: 'integer', minimum: 0 }
    : { ...(type === undefined ? {} : { type }), ...(pattern === undefined ? {} : { pattern }), ...rest }
}

function requestBody(body: z.ZodType | 'archive', schemas: Schemas): Json {
  if (body !== 'archive') return { required: true, content: { 'application/json': { schema: schemas.of(body, 'input') } } }
  const binary = { schema: { type: 'string', format: 'binary' } }
  return { required: true, content: { 'application/x-tar': binary, 'application/gzip': binary, 'application/octet-stream': binary } }
}

function response(spec: RouteSpec, schemas: Schemas): Json {
  const content: Json = {}
  if (spec.response === 'archive') content['application/gzip'] = { schema: { type: 'string', format: 'binary' } }
  else if (spec.response !== null) content['application/json'] = { schema: schemas.of(spec.response) }
  if (spec.stream !== undefined) {
    const names = Object.entries(spec.stream.events).map(([event, schema]) => {
      schemas.of(schema)
      return `\`${event}\` (data: ${String(z.globalRegistry.get(schema)?.id ?? 'object')})`
    })
    content['text/event-stream'] = { schema: { type: 'string', description: `Server-sent events: ${names.join(', ')}.` } }
  }
  return { description: spec.summary, ...(Object.keys(content).length === 0 ? {} : { content }) }
}
