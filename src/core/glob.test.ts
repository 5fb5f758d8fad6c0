import fc from 'fast-check'
import picomatch from 'picomatch'
import { expect, test } from 'vitest'
import { compileGlob } from './glob.ts'

const matches = (pattern: string, path: string) => compileGlob(pattern)(path.split('/'))

test.each([
  ['dist', 'dist', true],
  ['dist', 'dist/a', false],
  ['*.js', 'a.js', true],
  ['*.js', '.js', true],
  ['*.js', 'a/b.js', false],
  ['**/*.js', 'b.js', true],
  ['**/*.js', 'a/b/c.js', true],
  ['a/**/z', 'a/z', true],
  ['a/**/z', 'a/b/c/z', true],
  ['a/**', 'a', true],
  ['a?c', 'abc', true],
  ['a?c', 'ac', false],
  ['[a-c]x', 'bx', true],
  ['[!a-c]x', 'bx', false],
  ['[]]x', ']x', true],
  ['[a', '[a', true],
  ['\\*', '*', true],
  ['\\*', 'a', false],
  ['*.{js,css}', 'a.css', true],
  ['{a,b}/{c,d}', 'b/d', true],
  ['{a}', '{a}', true],
  ['ä?', 'ä😀', true],
])('%s against %s: %s', (pattern, path, expected) => {
  expect(matches(pattern, path)).toBe(expected)
})

test('agrees with picomatch on plain wildcards', () => {
  const name = fc.stringMatching(/^[ab.]{1,4}$/).filter((text) => text !== '.' && text !== '..')
  const part = fc.oneof(fc.stringMatching(/^[ab*?]{1,4}$/), fc.constant('**')).filter((text) => text === '**' || !text.includes('**'))
  const path = fc.array(name, { minLength: 1, maxLength: 4 })
  fc.assert(
    fc.property(fc.array(part, { minLength: 1, maxLength: 4 }), path, (parts, names) => {
      // picomatch reads `**` at the end as "at least one name"; this matcher as "any number".
      fc.pre(parts.at(-1) !== '**')
      const pattern = parts.join('/')
      expect(matches(pattern, names.join('/'))).toBe(picomatch.isMatch(names.join('/'), pattern, { dot: true }))
    }),
    { numRuns: 2000 },
  )
})

test('I9: patterns made to stop a regular expression end at once', () => {
  expect(matches(`${'*a'.repeat(40)}b`, 'a'.repeat(255))).toBe(false)
  expect(matches(`${'**/'.repeat(60)}x`, 'a/'.repeat(200).slice(0, -1))).toBe(false)
  expect(matches(`${'{a,b}'.repeat(30)}`, 'c')).toBe(false)
})
