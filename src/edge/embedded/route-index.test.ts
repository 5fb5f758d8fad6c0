import fc from 'fast-check'
import { expect, test } from 'vitest'
import { isUnder, RouteIndex } from './route-index.ts'

const route = (host: string, pathPrefix: string) => ({ record: { hosts: [host], pathPrefix } })

test.each([
  ['', '/x', true],
  ['/api', '/api', true],
  ['/api', '/api/', true],
  ['/api', '/api/x', true],
  ['/api', '/api?x=1', true],
  ['/api', '/apix', false],
  ['/api', '/ap', false],
  ['/api', '/API', false],
  ['/api', '*', false],
])('prefix %j covers path %j: %s', (prefix, path, wanted) => {
  expect(isUnder(prefix, path)).toBe(wanted)
})

test('an unknown host has no route, whatever its path', () => {
  expect(new RouteIndex([route('a', '')]).find('b', '/')).toBeNull()
})

test('the longest prefix that covers the path wins, in whatever order the routes came', () => {
  const prefixes = fc.uniqueArray(fc.constantFrom('', '/a', '/a/b', '/a/b/c', '/ab', '/x'), { minLength: 1 })
  const paths = fc.constantFrom('/', '/a', '/a/b', '/a/b/c/d', '/ab', '/abc', '/x/y')
  fc.assert(
    fc.property(prefixes, paths, (list, path) => {
      const found = new RouteIndex(list.map((prefix) => route('a', prefix))).find('a', path)
      const best = list.filter((prefix) => isUnder(prefix, path)).sort((a, b) => b.length - a.length)[0]
      expect(found?.record.pathPrefix).toBe(best)
    }),
  )
})
