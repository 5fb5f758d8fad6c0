import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { RouteSpec, Within } from './route.ts'
import { ROUTES } from './routes.ts'

const routes = Object.entries<RouteSpec>(ROUTES)
const guarded = routes.filter(([, spec]) => spec.isPublic !== true)
const keysOf = (schema: unknown) => (schema instanceof z.ZodObject ? Object.keys(schema.shape) : [])
const placesOf = (spec: RouteSpec, key: string) => [spec.params, spec.query, spec.body].filter((part) => keysOf(part).includes(key)).length

const NAMED: readonly Within[] = ['project', 'project-shared', 'environment', 'scope']
const FREE: readonly Within[] = [...NAMED, 'visible', 'server']

describe('the rule of each route fits what it is given', () => {
  test.each(guarded)('%s', (_, spec) => {
    const { within } = spec.needs ?? { within: 'server' }
    // Named twice, the rule would look at one and the handler at the other.
    expect(placesOf(spec, 'project')).toBe(NAMED.includes(within) ? 1 : placesOf(spec, 'project'))
    expect(placesOf(spec, 'environment')).toBeLessThanOrEqual(1)
    if (within === 'environment' || within === 'scope') expect(placesOf(spec, 'environment')).toBe(1)
    if (!FREE.includes(within)) expect(keysOf(spec.params)).toEqual(expect.arrayContaining(['id']))
    if (within === 'server') expect(['project', 'environment'].filter((key) => placesOf(spec, key) > 0)).toEqual([])
  })

  test('what the audit log tells is in the request, and never a value that may be secret', () => {
    for (const [id, spec] of guarded) {
      const known = [spec.params, spec.query, spec.body].flatMap(keysOf)
      for (const key of spec.audit?.tells ?? []) {
        expect(known, id).toContain(key)
        expect(key, id).not.toMatch(/value|token|password|url|key$|^secrets$/i)
        // E.g. the variables that are set.
        if (spec.body instanceof z.ZodObject) expect(spec.body.shape[key], id).not.toBeInstanceOf(z.ZodRecord)
      }
    }
  })
})
