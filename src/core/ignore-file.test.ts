import fc from 'fast-check'
import ignore from 'ignore'
import { expect, test } from 'vitest'
import { IgnoreFile } from './ignore-file.ts'

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
] as const)('%j about %s', (text, path, isDirectory, expected) => {
  expect(new IgnoreFile(text).verdict(path, isDirectory)).toBe(expected)
})

test('agrees with the ignore package for whole files of rules', () => {
  const part = fc.oneof(fc.stringMatching(/^[ab*?]{1,3}$/), fc.constant('**')).filter((text) => text === '**' || !text.includes('**'))
  const rule = fc
    .tuple(fc.boolean(), fc.boolean(), fc.array(part, { minLength: 1, maxLength: 3 }), fc.boolean())
    .map(([negated, anchored, parts, directory]) => `${negated ? '!' : ''}${anchored ? '/' : ''}${parts.join('/')}${directory ? '/' : ''}`)
  const path = fc.array(fc.stringMatching(/^[ab]{1,3}$/), { minLength: 1, maxLength: 3 })
  fc.assert(
    fc.property(fc.array(rule, { maxLength: 5 }), path, fc.boolean(), (rules, names, isDirectory) => {
      const text = rules.join('\n')
      const mine = ignoredByWalk(new IgnoreFile(text), names, isDirectory)
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
function ignoredByWalk(file: IgnoreFile, names: readonly string[], isDirectory: boolean): boolean {
  return names.some((_, index) => {
    const isLast = index === names.length - 1
    return file.verdict(names.slice(0, index + 1).join('/'), isLast ? isDirectory : true) === 'ignored'
  })
}
