import fc from 'fast-check'
import ignore from 'ignore'
import { expect, test } from 'vitest'
import { BoundedWork } from './bounded-work.ts'
import { IgnoreFile } from './ignore-file.ts'
import { LIMITS } from './limits.ts'

const work = () => new BoundedWork('a test', Number.POSITIVE_INFINITY)

test.each([
  ['node_modules/', 'node_modules', true, 'ignored'],
  ['node_modules/', 'node_modules', false, null],
  ['node_modules/', 'a/b/node_modules', true, 'ignored'],
  ['/dist', 'dist', true, 'ignored'],
  ['/dist', 'a/dist', true, null],
  ['a/b', 'a/b', false, 'ignored'],
  ['a/b', 'x/a/b', false, null],
  ['**/b', 'x/a/b', false, 'ignored'],
  ['a/**', 'a', true, null],
  ['a/**', 'a/x/y', false, 'ignored'],
  ['# a', '# a', false, null],
  ['\\#a', '#a', false, 'ignored'],
  ['\\!a', '!a', false, 'ignored'],
  ['a   ', 'a', false, 'ignored'],
  ['a\\ ', 'a ', false, 'ignored'],
  ['*.log\n!keep.log', 'keep.log', false, 'kept'],
  ['!keep.log\n*.log', 'keep.log', false, 'ignored'],
  ['*.{a,b}', 'x.a', false, null],
  ['', 'a', false, null],
  ['/', 'a', false, null],
  ['a\r\nb\r\n', 'b', false, 'ignored'],
] as const)('%j about %s', async (text, path, isDirectory, expected) => {
  expect(await (await IgnoreFile.parse(text, '.gitignore')).verdict(path, isDirectory, work())).toBe(expected)
})

test('agrees with the ignore package for whole files of rules', async () => {
  const part = fc.oneof(fc.stringMatching(/^[ab*?]{1,3}$/), fc.constant('**')).filter((text) => text === '**' || !text.includes('**'))
  const rule = fc
    .tuple(fc.boolean(), fc.boolean(), fc.array(part, { minLength: 1, maxLength: 3 }), fc.boolean())
    .map(([negated, anchored, parts, directory]) => `${negated ? '!' : ''}${anchored ? '/' : ''}${parts.join('/')}${directory ? '/' : ''}`)
  const path = fc.array(fc.stringMatching(/^[ab]{1,3}$/), { minLength: 1, maxLength: 3 })
  await fc.assert(
    fc.asyncProperty(fc.array(rule, { maxLength: 5 }), path, fc.boolean(), async (rules, names, isDirectory) => {
      const text = rules.join('\n')
      const mine = await ignoredByWalk(await IgnoreFile.parse(text, '.gitignore'), names, isDirectory)
      expect(mine).toBe(
        ignore()
          .add(text)
          .ignores(`${names.join('/')}${isDirectory ? '/' : ''}`),
      )
    }),
    { numRuns: 3000 },
  )
})

/** As a walk sees it: what is below an ignored directory is never looked at. */
async function ignoredByWalk(file: IgnoreFile, names: readonly string[], isDirectory: boolean): Promise<boolean> {
  for (const index of names.keys()) {
    const isLast = index === names.length - 1
    const verdict = await file.verdict(names.slice(0, index + 1).join('/'), isLast ? isDirectory : true, work())
    if (verdict === 'ignored') return true
  }
  return false
}

test.each([
  ['a long rule', `ok\n${'a'.repeat(1025)}\n`, '.deployignore:2: the pattern is longer than 1024 characters'],
  ['many rules', '*a\n'.repeat(LIMITS.ignoreFileRules + 1), '.deployignore: has more than 5000 rules'],
  ['a large file', '#'.repeat(LIMITS.ignoreFileBytes + 1), '.deployignore: is larger than 262144 bytes'],
])('I12: %s is refused when it is read, with its place', async (_, text, problem) => {
  await expect(IgnoreFile.parse(text, '.deployignore')).rejects.toThrow(problem)
})

test('I12: rules that cost too much together end with what was asked for', async () => {
  const rules = await IgnoreFile.parse(`*${'a'.repeat(120)}*b*\n`.repeat(2000), '.deployignore')
  const small = new BoundedWork('.deployignore: 2000 rules against 600 paths', 1_000_000)
  await expect(rules.verdict('a'.repeat(250), false, small)).rejects.toMatchObject({ code: 'WORK_TOO_LARGE' })
})
