import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Within } from '../contract/route.ts'
import { isShiplockError } from '../core/errors.ts'
import { type Grant, ROLES, VERBS, verbsOf } from '../domain/access.ts'
import type { Queryable } from '../store/database.ts'
import { accessOf, assertVerb, authorize } from './authorize.ts'

const DEFAULTS = { project: 'a', environment: 'x' }
const PROJECTS = ['a', 'b', 'missing']
const ENVIRONMENTS = ['x', 'y']

/** Ids say what they belong to: `b.y`, or `b.` for a row of the whole project. */
const database: Queryable = {
  query: async <Row>(text: string, [given]: readonly unknown[] = []) => {
    const key = String(given)
    if (text.startsWith('select id from projects')) return (key === 'missing' ? [] : [{ id: key }]) as Row[]
    if (key === 'nothing') return []
    const [project, environment] = key.split('.')
    return [{ project, environment: environment === '' ? null : environment }] as Row[]
  },
}

const grant: fc.Arbitrary<Grant> = fc
  .record({
    role: fc.constantFrom(...ROLES),
    verbs: fc.option(fc.subarray([...VERBS], { minLength: 1 })),
    project: fc.constantFrom(null, 'a', 'b'),
    environment: fc.constantFrom(null, 'x', 'y'),
    expiresAt: fc.constant(null),
  })
  .map((given) => ({ ...given, environment: given.project === null ? null : given.environment }))
const within = fc.constantFrom<Within>('server', 'project', 'project-shared', 'environment', 'scope', 'visible', 'deployment')
const names = fc.record({ project: fc.option(fc.constantFrom(...PROJECTS)), environment: fc.option(fc.constantFrom(...ENVIRONMENTS)) })
const id = fc.constantFrom('nothing', 'a.x', 'a.y', 'b.x', 'b.y', 'a.', 'b.')

async function outcome(
  held: Grant,
  place: Within,
  given: { project: string | null; environment: string | null },
  row: string,
  verb: (typeof VERBS)[number],
) {
  const query = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== null))
  const access = accessOf(held)
  try {
    assertVerb(access, { verb, within: place })
    return await authorize(database, access, { verb, within: place }, { params: { id: row }, query, body: undefined }, DEFAULTS)
  } catch (error) {
    if (isShiplockError(error, 'FORBIDDEN') || isShiplockError(error, 'NOT_FOUND')) return error
    throw error
  }
}

describe('I10: role × verb × scope', () => {
  test('whoever is let in has the verb, and what the request concerns lies within the token', async () => {
    await fc.assert(
      fc.asyncProperty(grant, within, names, id, fc.constantFrom(...VERBS), async (held, place, given, row, verb) => {
        const found = await outcome(held, place, given, row, verb)
        if (found instanceof Error) return
        expect(verbsOf(held).has(verb)).toBe(true)
        if (place === 'server') expect(held.project).toBeNull()
        if (held.project !== null) expect(found.concern.project).toBe(held.project)
        if (held.environment !== null && place !== 'project-shared') expect(found.concern.environment).toBe(held.environment)
        if (place === 'visible' && held.project !== null) expect(found.query).toMatchObject({ project: held.project })
        if (place === 'visible' && held.environment !== null) expect(found.query).toMatchObject({ environment: held.environment })
      }),
      { numRuns: 3000 },
    )
  })

  test('what belongs to the token and needs a verb it has is never refused', async () => {
    await fc.assert(
      fc.asyncProperty(grant, fc.constantFrom<Within>('environment', 'scope', 'visible', 'deployment'), async (held, place) => {
        const own = { project: held.project ?? 'a', environment: held.environment ?? 'x' }
        for (const verb of verbsOf(held)) {
          expect(await outcome(held, place, own, `${own.project}.${own.environment}`, verb)).not.toBeInstanceOf(Error)
        }
      }),
    )
  })

  test('a token bound to a project gets the same refusal for another’s row as for none', async () => {
    const held: Grant = { role: 'owner', verbs: null, project: 'a', environment: null, expiresAt: null }
    const say = async (row: string) =>
      String(await outcome(held, 'deployment', { project: null, environment: null }, row, 'read')).replace(row, 'X')
    expect(await say('b.x')).toBe(await say('nothing'))
    expect(await say('b.x')).toContain('no deployment X')
  })

  test('what is not named is the token’s own', async () => {
    const held: Grant = { role: 'developer', verbs: null, project: 'b', environment: 'y', expiresAt: null }
    const found = await outcome(held, 'environment', { project: null, environment: null }, '', 'deploy')
    expect(found).toMatchObject({ concern: { project: 'b', environment: 'y' } })
  })

  test('only who may administer makes a project by naming it', async () => {
    const developer: Grant = { role: 'developer', verbs: null, project: null, environment: null, expiresAt: null }
    const missing = { project: 'missing', environment: null }
    expect(await outcome(developer, 'environment', missing, '', 'deploy')).toMatchObject({ code: 'NOT_FOUND' })
    expect(await outcome({ ...developer, role: 'owner' }, 'environment', missing, '', 'deploy')).not.toBeInstanceOf(Error)
  })

  test('a refusal says which verb is missing and who has it', async () => {
    const viewer: Grant = { role: 'viewer', verbs: null, project: 'a', environment: null, expiresAt: null }
    const refused = await outcome(viewer, 'environment', { project: null, environment: null }, '', 'deploy')
    expect(refused).toMatchObject({ code: 'FORBIDDEN', hint: 'Ask an owner of the project for a token of role developer or owner.' })
    expect(String(refused)).toContain('may not `deploy`; it may: read')
  })
})
