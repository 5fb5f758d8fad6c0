import { describe, expect, test } from 'vitest'
import { type KnownHead, orderOf, refName } from './branch-head.ts'

const head = (sha: string | null, beforeSha: string | null): KnownHead => ({
  sha,
  beforeSha,
  foundBy: 'webhook',
  deploymentId: null,
  isBaseline: false,
})

describe('where a push stands', () => {
  test.each([
    ['the first that is heard of', { before: 'a', after: 'b' }, null, 'next'],
    ['on top of what is known', { before: 'b', after: 'c' }, head('b', 'a'), 'next'],
    ['the same again', { before: 'a', after: 'b' }, head('b', 'a'), 'known'],
    [
      'of the commit at which the branch was first looked at',
      { before: 'a', after: 'b' },
      { ...head('b', null), isBaseline: true },
      'next',
    ],
    ['late: the one on top of it came first', { before: 'a', after: 'b' }, head('c', 'b'), 'overtaken'],
    ['back to an earlier commit, forced', { before: 'c', after: 'b' }, head('c', 'b'), 'next'],
    ['with a gap', { before: 'x', after: 'y' }, head('c', 'b'), 'unsure'],
    ['a branch that was deleted comes again', { before: null, after: 'b' }, head(null, 'a'), 'next'],
    ['a replay of an old request', { before: 'a', after: 'b' }, head('z', 'y'), 'unsure'],
  ] as const)('%s: %s', (_, event, known, order) => expect(orderOf(event, known)).toBe(order))
})

test('a ref has its full name', () => {
  expect(refName({ kind: 'branch', name: 'main' })).toBe('refs/heads/main')
  expect(refName({ kind: 'tag', name: 'v1' })).toBe('refs/tags/v1')
})
