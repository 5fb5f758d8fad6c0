import { describe, expect, test } from 'vitest'
import { openApiDocument } from './openapi.ts'
import type { RouteSpec } from './route.ts'
import { ROUTES } from './routes.ts'

type Node = Record<string, unknown>
const document = openApiDocument('1.2.3') as unknown as {
  openapi: string
  paths: Record<string, Record<string, Node & { operationId: string; responses: Node; parameters?: Node[]; security?: unknown[] }>>
  components: { schemas: Record<string, Node> }
}

function* refsIn(value: unknown): Generator<string> {
  if (Array.isArray(value)) for (const item of value) yield* refsIn(item)
  else if (typeof value === 'object' && value !== null) {
    for (const [key, inner] of Object.entries(value)) {
      if (key === '$ref' && typeof inner === 'string') yield inner
      else yield* refsIn(inner)
    }
  }
}

describe('the OpenAPI document', () => {
  test('every route is documented, and nothing else is', () => {
    const documented = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => `${method} ${path} ${operation.operationId}`),
    )
    const routed = Object.entries<RouteSpec>(ROUTES).map(([id, spec]) => `${spec.method} ${spec.path} ${id}`)
    expect(documented.sort()).toEqual(routed.sort())
  })

  test('every reference leads somewhere', () => {
    const refs = new Set(refsIn(document))
    expect(refs.size).toBeGreaterThan(10)
    for (const ref of refs) {
      const found = ref
        .replace('#/', '')
        .split('/')
        .reduce<unknown>((at, key) => (at as Node | undefined)?.[key], document)
      expect(found, ref).toBeDefined()
    }
  })

  test('path parameters stand in the path, and all of the path are described', () => {
    for (const [path, methods] of Object.entries(document.paths)) {
      const inPath = [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1])
      for (const operation of Object.values(methods)) {
        const described = (operation.parameters ?? []).filter((parameter) => parameter.in === 'path').map((parameter) => parameter.name)
        expect(described.sort(), path).toEqual(inPath.sort())
      }
    }
  })

  test('numbers of the query are integers, whatever they are on the wire', () => {
    const limit = document.paths['/v1/deployments']?.get?.parameters?.find((parameter) => parameter.name === 'limit')
    expect(limit?.schema).toMatchObject({ type: 'integer', description: '1 to 200, 50 when left out.' })
  })

  test('only health and the document itself need no token', () => {
    const open = Object.values(document.paths).flatMap((methods) =>
      Object.values(methods).filter((operation) => operation.security?.length === 0),
    )
    expect(open.map((operation) => operation.operationId).sort()).toEqual(['getHealth', 'getOpenApi'])
  })

  test('what is named is named once, and zod’s own markers are gone', () => {
    for (const [name, schema] of Object.entries(document.components.schemas)) {
      expect(schema.id, name).toBeUndefined()
      expect(schema.$schema, name).toBeUndefined()
      expect(schema.type ?? schema.anyOf ?? schema.oneOf ?? schema.enum, name).toBeDefined()
    }
    expect(JSON.stringify(document)).not.toContain('$defs')
  })
})
