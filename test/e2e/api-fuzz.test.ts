import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { z } from 'zod'
import { Problem } from '../../src/contract/problem.ts'
import type { RouteSpec } from '../../src/contract/route.ts'
import { ROUTES } from '../../src/contract/routes.ts'
import { type ApiFixture, startApi } from '../support/api-fixture.ts'
import { hostile, inputOf, nearInputOf } from '../support/schema-arbitrary.ts'
import { makeToken, seedTwoProjects } from '../support/two-projects.ts'

/** Requests are made from the same schemas as the OpenAPI document. Public routes that take raw bodies have tests of their own. */
let api: ApiFixture
let owner: string
beforeAll(async () => {
  api = await startApi()
  await seedTwoProjects(api.database)
  owner = await makeToken(api.database, { project: 'mine', role: 'owner' })
})
afterAll(() => api.stop())

const routes = Object.entries<RouteSpec>(ROUTES)
const withBody = routes.filter(([, spec]) => spec.body !== undefined && spec.body !== 'archive')
const withParameters = routes.filter(([, spec]) => spec.params !== undefined || spec.query !== undefined)

const textsOf = (schema: z.ZodType | undefined) =>
  (schema === undefined ? fc.constant({}) : fc.oneof(inputOf(schema), nearInputOf(schema))).map((value) =>
    Object.entries(typeof value === 'object' && value !== null ? value : {}).map(([key, inner]): [string, string] => [
      key,
      typeof inner === 'string' ? inner : JSON.stringify(inner),
    ]),
  )

/** Half a surrogate pair can't be sent in a URL. */
const sendable = (text: string) => Buffer.from(text).toString()

function pathOf(spec: RouteSpec, params: readonly [string, string][]): string {
  const given = new Map(params)
  return spec.path.replaceAll(/\{(\w+)\}/g, (_, key: string) => encodeURIComponent(sendable(given.get(key) ?? 'x')) || 'x')
}

async function ask(spec: RouteSpec, path: string, body: unknown): Promise<void> {
  const isAdministrative = spec.needs?.verb === 'administer'
  const authorization = `Bearer ${isAdministrative ? api.token : owner}`
  const what = `${spec.method} ${path} ${JSON.stringify(body)}`
  const { status, body: answer, headers } = await api.call(spec.method.toUpperCase(), path, body, { authorization })
  expect(status, `${what}: ${JSON.stringify(answer)}`).toBeLessThan(500)
  if (status < 400) return
  expect(headers.get('content-type'), what).toBe('application/problem+json')
  expect(Problem.parse(answer).status).toBe(status)
}

describe('I9: whatever is sent, the answer is what the document says or a problem, never a failure of ours', () => {
  test.each(withBody)('the body of %s', { timeout: 120_000 }, async (_, spec) => {
    const schema = spec.body as z.ZodType
    const body = fc.oneof(inputOf(schema), nearInputOf(schema), hostile)
    await fc.assert(
      fc.asyncProperty(textsOf(spec.params), textsOf(spec.query), body, async (params, query, value) => {
        const search = new URLSearchParams(query.map(([key, text]): [string, string] => [key, sendable(text)])).toString()
        await ask(spec, `${pathOf(spec, params)}${search === '' ? '' : `?${search}`}`, value)
      }),
      { numRuns: 25 },
    )
  })

  test.each(withParameters.filter(([, spec]) => spec.body === undefined))('path and query of %s', { timeout: 120_000 }, async (_, spec) => {
    await fc.assert(
      fc.asyncProperty(textsOf(spec.params), textsOf(spec.query), async (params, query) => {
        const search = new URLSearchParams(query.map(([key, text]): [string, string] => [key, sendable(text)])).toString()
        await ask(spec, `${pathOf(spec, params)}?${search}`, undefined)
      }),
      { numRuns: 15 },
    )
  })

  test('what the schemas make is mostly accepted by them: the fuzz reaches the handlers', () => {
    for (const [id, spec] of withBody) {
      const schema = spec.body as z.ZodType
      const made = fc.sample(inputOf(schema), 40)
      const accepted = made.filter((value) => schema.safeParse(value).success).length
      expect(accepted, id).toBeGreaterThan(4)
    }
  })
})
