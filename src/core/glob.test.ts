import fc from 'fast-check'
import picomatch from 'picomatch'
import { expect, test } from 'vitest'
import type { Meter } from './bounded-work.ts'
import { compileGlob, patternProblem } from './glob.ts'
import { LIMITS } from './limits.ts'
import { PathText } from './path-text.ts'

const free: Meter = { spend: () => {} }
const matches = (pattern: string, path: string) => compileGlob(pattern).matches(new PathText(path), free)

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

const names = fc.array(fc.stringMatching(/^[ab😀]{1,3}$/u), { maxLength: 5 })
const parts = fc.array(
  fc
    .oneof(fc.stringMatching(/^[ab*?😀]{1,3}$/u), fc.constantFrom('**', '[ab]*', '[!a]', '\\*'))
    .filter((text) => text === '**' || !text.includes('**')),
  { minLength: 1, maxLength: 4 },
)

test('where it may end and where it may begin agree with whole matches of each part', () => {
  fc.assert(
    fc.property(parts, names, (pattern, path) => {
      const glob = compileGlob(pattern.join('/'))
      const whole = new PathText(path.join('/'))
      const places = path.map((_, at) => at).concat(path.length)
      const fits = (part: readonly string[]) => glob.matches(new PathText(part.join('/')), free)
      expect([...glob.matchingStarts(whole, free)]).toEqual(places.filter((count) => fits(path.slice(0, count))))
      expect([...glob.matchingEnds(whole, free)]).toEqual(places.filter((count) => fits(path.slice(path.length - count))))
    }),
    { numRuns: 3000 },
  )
})

test.each([
  ['a{b,c}{d,e}', ['abd', 'abe', 'acd', 'ace'], ['abc']],
  ['{a}{b,c}', ['{a}b', '{a}c'], ['ab']],
  ['{a,{b,c}}', ['a', 'b', 'c'], ['{a,b}']],
  ['\\{a,b}', ['{a,b}'], ['a']],
  ['{a,b', ['{a,b'], ['a']],
])('the alternatives of %s', (pattern, fitting, others) => {
  for (const text of fitting) expect(matches(pattern, text)).toBe(true)
  for (const text of others) expect(matches(pattern, text)).toBe(false)
})

test.each([
  ['too long', 'a'.repeat(LIMITS.patternCharacters + 1), 'is longer than 1024 characters'],
  ['too many alternatives', '{a,b}'.repeat(30), 'has more than 64 alternatives'],
  ['alternatives that are long together', `${'{a,b}'.repeat(6)}${'x'.repeat(400)}`, 'longer than 8192 characters'],
])('I12: %s is refused before it is compiled', (_, pattern, problem) => {
  expect(patternProblem(pattern)).toContain(problem)
  expect(() => compileGlob(pattern)).toThrow(problem)
})

test('I12: what a pattern spends is bounded by pattern × path / 32, whatever they hold', () => {
  let spent = 0
  const meter: Meter = {
    spend: (steps) => {
      spent += steps
    },
  }
  for (const [pattern, path] of [
    [`${'*a'.repeat(255)}b`, `${'a'.repeat(4094)}cb`],
    [`*${'a'.repeat(500)}b*`, 'a'.repeat(4096)],
    [`${'**/'.repeat(170)}x`, `${'a/'.repeat(2047)}b`],
    [`${'*/**/'.repeat(100)}*x*`, `${'a/'.repeat(2047)}b`],
    [`${'[!-~]'.repeat(100)}*`, '\u{3042}'.repeat(4096)],
  ] as const) {
    spent = 0
    compileGlob(pattern).matches(new PathText(path), meter)
    expect(spent).toBeLessThanOrEqual((path.length + 1) * (Math.floor(pattern.length / 32) + 2) + 256 * pattern.length)
  }
})
