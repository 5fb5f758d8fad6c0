import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { LIMITS } from '../../core/limits.ts'
import { compileTrigger } from './trigger-matchers.ts'

const watches = (watch: readonly string[], path: string) => compileTrigger({ watch, tags: null }).isWatched(path)
const wants = (tags: string | null, name: string) => compileTrigger({ watch: [], tags }).isTagWanted(name)

describe('watched paths', () => {
  test.each([
    ['apps/api/**', 'apps/api/src/main.ts', true],
    ['apps/api/**', 'apps/web/main.ts', false],
    ['apps/api', 'apps/api/src/main.ts', true],
    ['apps/api/', 'apps/api/src/main.ts', true],
    ['./apps/api', 'apps/api/main.ts', true],
    ['apps/api', 'apps/api2/main.ts', false],
    ['apps/*/src', 'apps/web/src/x/y.ts', true],
    ['*.md', 'README.md', true],
    ['*.md', 'docs/README.md', false],
    ['**/*.md', 'docs/a/README.md', true],
    ['package.json', 'package.json', true],
    ['{api,web}/**', 'web/a', true],
    ['**', '.github/x', true],
    ['Apps', 'apps/a', false],
  ])('%s and %s: %s', (pattern, path, expected) => {
    expect(watches([pattern], path)).toBe(expected)
  })

  test('one that is excluded is not watched, in whatever order the patterns stand', () => {
    for (const watch of [
      ['apps/**', '!**/*.md'],
      ['!**/*.md', 'apps/**'],
    ]) {
      expect(watches(watch, 'apps/api/a.ts')).toBe(true)
      expect(watches(watch, 'apps/api/README.md')).toBe(false)
      expect(watches(watch, 'lib/a.ts')).toBe(false)
    }
    expect(watches(['!docs'], 'src/a.ts')).toBe(true)
    expect(watches(['!docs'], 'docs/a.md')).toBe(false)
  })

  test('agrees with the obvious model for plain directories', () => {
    const name = fc.constantFrom('a', 'b', 'ab')
    const path = fc.array(name, { minLength: 1, maxLength: 4 }).map((names) => names.join('/'))
    fc.assert(
      fc.property(fc.array(path, { minLength: 1, maxLength: 3 }), fc.array(path, { maxLength: 2 }), path, (wanted, unwanted, changed) => {
        const isBelow = (directory: string) => changed === directory || changed.startsWith(`${directory}/`)
        const watch = [...wanted, ...unwanted.map((pattern) => `!${pattern}`)]
        expect(watches(watch, changed)).toBe(wanted.some(isBelow) && !unwanted.some(isBelow))
      }),
    )
  })

  test('I12: a pattern made to be slow is not', () => {
    const { isWatched } = compileTrigger({ watch: [`${'*a'.repeat(40)}b`, `${'**/'.repeat(40)}x`], tags: null })
    const path = `${'a/'.repeat(200)}${'a'.repeat(LIMITS.webhookPathCharacters - 400)}`
    expect(isWatched(path)).toBe(false)
  })
})

test.each([
  ['v*', 'v1.2.3', true],
  ['v[0-9]*', 'v1.2.3', true],
  ['v[0-9]*', 'version', false],
  ['v*', 'release/v1', false],
  ['release/*', 'release/v1', true],
  ['**', 'any/thing', true],
  ['v{1,2}.*', 'v2.0', true],
  [null, 'v1', false],
])('tags %s and %s: %s', (pattern, name, expected) => {
  expect(wants(pattern, name)).toBe(expected)
})
