import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { excessOf, type Grant, ROLE_VERBS, ROLES, VERBS, verbsOf } from './access.ts'

const EXPIRIES = [null, '2030-01-01T00:00:00.000Z', '2031-01-01T00:00:00.000Z']
const grant: fc.Arbitrary<Grant> = fc
  .record({
    role: fc.constantFrom(...ROLES),
    verbs: fc.option(fc.subarray([...VERBS], { minLength: 1 })),
    project: fc.constantFrom(null, 'a', 'b'),
    environment: fc.constantFrom(null, 'x', 'y'),
    expiresAt: fc.constantFrom(...EXPIRIES),
  })
  .map((given) => ({ ...given, environment: given.project === null ? null : given.environment }))

const PLACES = ['a', 'b'].flatMap((project) => ['x', 'y'].map((environment) => ({ project, environment })))
/** Everything that a grant lets its holder do, one by one. */
function powersOf(held: Grant): Set<string> {
  const powers = new Set<string>()
  for (const { project, environment } of PLACES) {
    if (held.project !== null && held.project !== project) continue
    if (held.environment !== null && held.environment !== environment) continue
    for (const verb of verbsOf(held))
      for (const year of [2029, 2030, 2099]) if (isValidIn(held, year)) powers.add(`${verb} ${project} ${environment} ${year}`)
  }
  return powers
}
const isValidIn = ({ expiresAt }: Grant, year: number) => expiresAt === null || new Date(expiresAt).getUTCFullYear() > year

describe('roles', () => {
  test('each has what the one below it has', () => {
    expect(ROLE_VERBS.viewer.every((verb) => ROLE_VERBS.developer.includes(verb))).toBe(true)
    expect(ROLE_VERBS.developer.every((verb) => ROLE_VERBS.owner.includes(verb))).toBe(true)
  })

  test('nobody but an owner of the whole server administers it', () => {
    fc.assert(fc.property(grant, (held) => !verbsOf(held).has('administer') || (held.role === 'owner' && held.project === null)))
  })

  test('verbs only ever narrow a role', () => {
    fc.assert(
      fc.property(grant, (held) => {
        const all = verbsOf({ ...held, verbs: null })
        for (const verb of verbsOf(held)) expect(all.has(verb) && (held.verbs === null || held.verbs.includes(verb))).toBe(true)
      }),
    )
  })
})

describe('I10: a token that is made by another', () => {
  test('has no power that the other lacks', () => {
    fc.assert(
      fc.property(grant, grant, (holder, wanted) => {
        if (excessOf(holder, wanted) !== null) return
        const own = powersOf(holder)
        for (const power of powersOf(wanted)) expect(own.has(power), power).toBe(true)
      }),
      { numRuns: 2000 },
    )
  })

  test('may be just like the other', () => {
    fc.assert(fc.property(grant, (held) => excessOf(held, held) === null))
  })
})
