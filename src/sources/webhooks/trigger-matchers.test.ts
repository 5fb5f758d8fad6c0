import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { LIMITS } from '../../core/limits.ts'
import { matchTrigger } from './trigger-matchers.ts'

const watches = async (watch: readonly string[], ...changedPaths: string[]) =>
  (await matchTrigger({ watch, tags: null }, { ref: { kind: 'branch', name: 'main' }, changedPaths })).isWatched
const wants = async (tags: string | null, name: string) =>
  (await matchTrigger({ watch: [], tags }, { ref: { kind: 'tag', name }, changedPaths: null })).isTagWanted

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
  ])('%s and %s: %s', async (pattern, path, expected) => {
    expect(await watches([pattern], path)).toBe(expected)
  })

  test('one that is excluded is not watched, in whatever order the patterns stand', async () => {
    for (const watch of [
      ['apps/**', '!**/*.md'],
      ['!**/*.md', 'apps/**'],
    ]) {
      expect(await watches(watch, 'apps/api/a.ts')).toBe(true)
      expect(await watches(watch, 'apps/api/README.md')).toBe(false)
      expect(await watches(watch, 'lib/a.ts')).toBe(false)
    }
    expect(await watches(['!docs'], 'src/a.ts')).toBe(true)
    expect(await watches(['!docs'], 'docs/a.md')).toBe(false)
  })

  test('agrees with the obvious model for plain directories', async () => {
    const name = fc.constantFrom('a', 'b', 'ab')
    const path = fc.array(name, { minLength: 1, maxLength: 4 }).map((names) => names.join('/'))
    await fc.assert(
      fc.asyncProperty(
        fc.array(path, { minLength: 1, maxLength: 3 }),
        fc.array(path, { maxLength: 2 }),
        path,
        async (wanted, unwanted, changed) => {
          const isBelow = (directory: string) => changed === directory || changed.startsWith(`${directory}/`)
          const watch = [...wanted, ...unwanted.map((pattern) => `!${pattern}`)]
          expect(await watches(watch, changed)).toBe(wanted.some(isBelow) && !unwanted.some(isBelow))
        },
      ),
    )
  })

  test('one watched path of many is enough', async () => {
    expect(await watches(['docs'], 'a', 'b', 'docs/x')).toBe(true)
    expect(await watches(['docs'])).toBe(false)
  })

  test('I12: a pattern made to be slow is not', async () => {
    const path = `${'a/'.repeat(200)}${'a'.repeat(LIMITS.webhookPathCharacters - 400)}`
    expect(await watches([`${'*a'.repeat(40)}b`, `${'**/'.repeat(40)}x`], path)).toBe(false)
  })

  test('I12: more than a push is worth is refused, and says what it was', async () => {
    const paths = Array.from({ length: LIMITS.webhookPaths }, (_, n) => 'a'.repeat(1000 + (n % 20)))
    const watch = Array.from({ length: 200 }, () => `*${'a'.repeat(500)}b*`)
    await expect(watches(watch, ...paths)).rejects.toMatchObject({
      code: 'WORK_TOO_LARGE',
      message: expect.stringContaining('trigger.watch: 200 patterns against 3000 changed paths'),
    })
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
])('tags %s and %s: %s', async (pattern, name, expected) => {
  expect(await wants(pattern, name)).toBe(expected)
})
