import { expect, test } from 'vitest'
import { parseBase } from './bases.ts'
import { satisfies } from './toolchain.ts'

test.each([
  ['nodejs@22', 'nodejs', '22'],
  ['node:20', 'nodejs', '20'],
  ['nodejs', 'nodejs', null],
  ['python@3.11', 'python', '3.11'],
  ['golang@v1.22', 'go', '1.22'],
  ['bun@latest', 'bun', null],
  ['Static', 'static', null],
])('%s is %s %s', (base, name, wanted) => {
  expect(parseBase(base)).toEqual({ name, wanted })
})

test.each([
  ['20.20.2', '20', true],
  ['20.20.2', '22', false],
  ['20.20.2', '2', false],
  ['3.11.2', '3.11', true],
  ['3.12.1', '3.11', false],
  ['20.20.2', '20.x', true],
  ['20.20.2', null, true],
  ['1.22', '1.22.3', false],
])('%s satisfies %s: %s', (version, wanted, expected) => {
  expect(satisfies(version, wanted)).toBe(expected)
})
