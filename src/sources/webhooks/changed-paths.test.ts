import { describe, expect, test } from 'vitest'
import { LIMITS } from '../../core/limits.ts'
import { changedPathsOf, type PushedCommits } from './changed-paths.ts'

const commit = (id: string, ...added: string[]) => ({ id, added, modified: [], removed: [] })
const pushed = (commits: readonly unknown[] | null, more: Partial<PushedCommits> = {}) =>
  changedPathsOf({
    commits,
    total: null,
    listedMax: 2048,
    after: 'head',
    isBranch: true,
    isCreation: false,
    isDeletion: false,
    isForced: false,
    ...more,
  })

test('paths of all commits, each once', () => {
  const other = { id: 'head', added: ['a'], modified: ['b'], removed: ['c'] }
  expect(pushed([commit('x', 'a', 'd'), other])).toEqual({ changedPaths: ['a', 'd', 'b', 'c'], changedPathsNote: null })
})

test('a merge that lists nothing itself is told by the commits that it brought', () => {
  expect(pushed([commit('x', 'a'), commit('head')]).changedPaths).toEqual(['a'])
})

describe('can’t be told', () => {
  test.each<[string, readonly unknown[] | null, Partial<PushedCommits>, RegExp]>([
    ['without commits', [], {}, /no commits/],
    ['without a list of commits', null, {}, /no commits/],
    ['when a commit has no lists', [commit('x', 'a'), { id: 'head' }], {}, /lists no files/],
    ['when the lists are null', [{ id: 'head', added: null, modified: null, removed: null }], {}, /lists no files/],
    ['when no commit lists a file', [commit('x'), commit('head')], {}, /list no files/],
    ['when the head is not listed', [commit('x', 'a')], {}, /newest commit/],
    ['when the list was cut', [commit('head', 'a')], { total: 2 }, /only 1 of 2/],
    ['when the list may have been cut', [commit('x', 'a'), commit('head', 'b')], { listedMax: 2 }, /may list only/],
    ['after a forced push', [commit('head', 'a')], { isForced: true }, /forced/],
    ['of a new branch', [commit('head', 'a')], { isCreation: true }, /new branch/],
    ['of a deletion', [], { isDeletion: true }, /deletion/],
    ['of a tag', [commit('head', 'a')], { isBranch: false }, /tag/],
    ['when a path is no text', [{ id: 'head', added: [7] }], {}, /not readable/],
    ['when a path is too long', [commit('head', 'a'.repeat(LIMITS.webhookPathCharacters + 1))], {}, /too long/],
    ['when there are too many', [commit('head', ...Array.from({ length: LIMITS.webhookPaths + 1 }, (_, n) => `f${n}`))], {}, /more than/],
  ])('%s', (_, commits, more, note) => {
    expect(pushed(commits, more)).toEqual({ changedPaths: null, changedPathsNote: expect.stringMatching(note) })
  })

  test('2,048 commits are where GitHub cuts', () => {
    const commits = Array.from({ length: 2048 }, (_, index) => commit(index === 2047 ? 'head' : String(index), 'a'))
    expect(pushed(commits).changedPaths).toBeNull()
    expect(pushed(commits.slice(1)).changedPaths).toEqual(['a'])
  })
})

test('a total that equals the list lifts the doubt', () => {
  const commits = Array.from({ length: 5 }, (_, index) => commit(index === 0 ? 'head' : String(index), 'a'))
  expect(pushed(commits, { listedMax: 5, total: 5 }).changedPaths).toEqual(['a'])
  expect(pushed(commits, { listedMax: 5 }).changedPaths).toBeNull()
})

test('commits that are no objects are refused by their place', () => {
  expect(() => pushed([commit('head', 'a'), 'text'])).toThrow('payload.commits[1] is not an object')
})
