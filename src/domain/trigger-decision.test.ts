import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { findSkipWord, type PullRequestEvent, type PushEvent, type WebhookEvent } from './push.ts'
import { decide, needsMatch, type TriggerDecision, type TriggerRules, type TriggerState } from './trigger-decision.ts'

const NOW = Date.parse('2026-05-19T12:00:00Z')
const SHA = 'a'.repeat(40)
const RULES: TriggerRules = { branch: 'main', tags: null, watch: [] }
const FREE: TriggerState = { hold: null, freeze: null, now: NOW }
const PUSH: PushEvent = {
  kind: 'push',
  ref: { kind: 'branch', name: 'main' },
  before: 'b'.repeat(40),
  after: SHA,
  isCreation: false,
  isDeletion: false,
  isForced: false,
  headCommit: { sha: SHA, message: 'Berth plan', author: 'Mara', skipWord: null },
  changedPaths: ['api/a.ts', 'README.md'],
  changedPathsNote: null,
  pusher: 'mara',
  repository: { name: 'quayside/harbour', defaultBranch: 'trunk', urls: [] },
}

/** Prefixes stand for patterns: the real matching is tested where it is. */
function decided(event: WebhookEvent, rules: Partial<TriggerRules> = {}, state: Partial<TriggerState> = {}): TriggerDecision {
  const all = { ...RULES, ...rules }
  return decide(
    event,
    all,
    { ...FREE, ...state },
    {
      isWatched: event.kind === 'push' && (event.changedPaths ?? []).some((path) => all.watch.some((prefix) => path.startsWith(prefix))),
      isTagWanted: event.kind === 'push' && all.tags !== null && event.ref.name.startsWith(all.tags),
    },
  )
}
const tag = (name: string): PushEvent => ({
  ...PUSH,
  ref: { kind: 'tag', name },
  changedPaths: null,
  changedPathsNote: 'a tag is not a change of files',
})
const said = (skipWord: string): PushEvent => ({ ...PUSH, headCommit: { sha: SHA, message: 'x', author: 'Mara', skipWord } })

describe('a push', () => {
  test('to the branch is queued', () => {
    expect(decided(PUSH)).toEqual({ verdict: 'queue', reason: 'push to branch main' })
  })

  test.each<[string, PushEvent, Partial<TriggerRules>, Partial<TriggerState>, string, string]>([
    ['to another branch', { ...PUSH, ref: { kind: 'branch', name: 'topic' } }, {}, {}, 'branch', 'branch topic is not main'],
    ['beside the default branch', PUSH, { branch: null }, {}, 'branch', 'branch main is not trunk, the default branch'],
    ['of a deletion', { ...PUSH, isDeletion: true, after: null, headCommit: null }, {}, {}, 'deletion', 'branch main was deleted'],
    ['of a tag without a pattern', tag('v1'), {}, {}, 'tag', 'tag v1: tags do not deploy this service'],
    ['of another tag', tag('x1'), { tags: 'v' }, {}, 'tag', 'tag x1 does not match v'],
    ['with a skip word', said('[Skip CI]'), {}, {}, 'skip-word', 'the commit message says [Skip CI]'],
    ['of other paths', PUSH, { watch: ['web/'] }, {}, 'watch', 'none of the 2 changed paths matches web/'],
    [
      'of one other path',
      { ...PUSH, changedPaths: ['x'] },
      { watch: ['a', 'b', 'c', 'd', 'e'] },
      {},
      'watch',
      'none of the 1 changed path matches a, b, c or 2 more',
    ],
    ['into a hold', PUSH, {}, { hold: { reason: 'rolled back to v3' } }, 'held', 'automatic deployments are on hold: rolled back to v3'],
    ['into a freeze', PUSH, {}, { freeze: { reason: 'sale', until: null } }, 'frozen', 'frozen until lifted: sale'],
  ])('%s is skipped', (_, event, rules, state, code, reason) => {
    expect(decided(event, rules, state)).toEqual({ verdict: 'skip', code, reason, isFinal: code !== 'held' && code !== 'frozen' })
  })

  test('to the default branch is queued where no branch is configured; where that is unknown too, nothing is guessed', () => {
    expect(decided({ ...PUSH, ref: { kind: 'branch', name: 'trunk' } }, { branch: null }).verdict).toBe('queue')
    const unknown = { ...PUSH, repository: { ...PUSH.repository, defaultBranch: null } }
    expect(decided(unknown, { branch: null })).toMatchObject({ verdict: 'skip', code: 'branch' })
  })

  test('of a wanted tag is queued whatever paths are watched', () => {
    expect(decided(tag('v1'), { tags: 'v', watch: ['web/'] })).toMatchObject({
      verdict: 'queue',
      reason: expect.stringContaining('tag v1'),
    })
  })

  test('of a watched path is queued, and so is one whose paths can’t be told, with the reason', () => {
    expect(decided(PUSH, { watch: ['web/', 'api/'] })).toEqual({
      verdict: 'queue',
      reason: 'push to branch main; it changes a watched path',
    })
    const untold = { ...PUSH, changedPaths: null, changedPathsNote: 'a forced push may also have dropped commits' }
    expect(decided(untold, { watch: ['web/'] })).toEqual({
      verdict: 'queue',
      reason: 'push to branch main; which paths changed can’t be told: a forced push may also have dropped commits',
    })
  })

  test('is frozen until the very end of the freeze, by the given clock', () => {
    const freeze = { reason: 'sale', until: new Date(NOW).toISOString() }
    expect(decided(PUSH, {}, { freeze, now: NOW - 1 })).toMatchObject({ code: 'frozen', isFinal: false })
    expect(decided(PUSH, {}, { freeze, now: NOW }).verdict).toBe('queue')
  })

  test('whose end of freeze is unreadable stays frozen', () => {
    expect(decided(PUSH, {}, { freeze: { reason: 'sale', until: 'soon' } })).toMatchObject({ code: 'frozen' })
  })
})

test('what is no push is skipped by what it is', () => {
  const pullRequest = { kind: 'pullRequest', number: 7 } as PullRequestEvent
  expect(decided({ kind: 'ping', repository: null })).toMatchObject({ code: 'not-a-push', reason: expect.stringContaining('ping') })
  expect(decided({ kind: 'ignored', reason: 'event star does not deploy' })).toMatchObject({ reason: 'event star does not deploy' })
  expect(decided(pullRequest)).toMatchObject({ reason: 'pull request #7 is a matter of previews' })
})

describe('skip words', () => {
  test.each([
    ['[skip ci]', '[skip ci]'],
    ['Fix [CI SKIP] typo', '[CI SKIP]'],
    ['Title\n\nBody\n\n[Skip CI]\n', '[Skip CI]'],
    ['skip ci', null],
    ['[skipci]', null],
    ['[skip  ci]', null],
    ['(skip ci)', null],
    ['', null],
  ])('%j: %j', (message, expected) => {
    expect(findSkipWord(message)).toBe(expected)
  })

  test('are found anywhere, in any case', () => {
    const word = fc.constantFrom('[skip ci]', '[ci skip]')
    const cased = fc
      .tuple(word, fc.array(fc.boolean(), { minLength: 9, maxLength: 9 }))
      .map(([text, upper]) => [...text].map((character, index) => (upper[index] === true ? character.toUpperCase() : character)).join(''))
    fc.assert(
      fc.property(fc.string(), cased, fc.string(), (before, found, after) => {
        expect(findSkipWord(before + found + after)).not.toBeNull()
      }),
    )
  })
})

/** Slow and obvious: every reason to skip, written apart from the others. */
function model(event: PushEvent, rules: TriggerRules, state: TriggerState): Set<string> {
  const reasons = new Set<string>()
  const isBranch = event.ref.kind === 'branch'
  if (event.isDeletion) reasons.add('deletion')
  if (isBranch && event.ref.name !== (rules.branch ?? event.repository.defaultBranch)) reasons.add('branch')
  if (!isBranch && !(rules.tags !== null && event.ref.name.startsWith(rules.tags))) reasons.add('tag')
  if (event.headCommit !== null && event.headCommit.skipWord !== null) reasons.add('skip-word')
  let isAnyWatched = rules.watch.length === 0 || event.changedPaths === null
  for (const path of event.changedPaths ?? []) for (const prefix of rules.watch) isAnyWatched ||= path.startsWith(prefix)
  if (!isAnyWatched) reasons.add('watch')
  if (state.freeze !== null && (state.freeze.until === null || new Date(state.freeze.until).getTime() > state.now)) reasons.add('frozen')
  if (state.hold !== null) reasons.add('held')
  return reasons
}

test('agrees with the obvious model: queued exactly when nothing speaks against it, skipped for a reason that holds', () => {
  const name = fc.constantFrom('main', 'topic', 'v1', 'w1')
  const path = fc.constantFrom('api/a', 'web/b', 'README.md')
  const event: fc.Arbitrary<PushEvent> = fc
    .record({
      kind: fc.constantFrom('branch' as const, 'tag' as const),
      name,
      isDeletion: fc.boolean(),
      skipWord: fc.constantFrom(null, '[skip ci]'),
      hasHead: fc.boolean(),
      changedPaths: fc.option(fc.array(path, { maxLength: 3 })),
      defaultBranch: fc.option(name),
    })
    .map(({ kind, name: refName, isDeletion, skipWord, hasHead, changedPaths, defaultBranch }) => ({
      ...PUSH,
      ref: { kind, name: refName },
      isDeletion,
      headCommit: hasHead ? { sha: SHA, message: '', author: '', skipWord } : null,
      changedPaths,
      changedPathsNote: changedPaths === null ? 'no list' : null,
      pusher: null,
      repository: { name: 'r', defaultBranch, urls: [] },
    }))
  const rules: fc.Arbitrary<TriggerRules> = fc.record({
    branch: fc.option(name),
    tags: fc.option(fc.constantFrom('v', 'w')),
    watch: fc.array(fc.constantFrom('api/', 'web/'), { maxLength: 2 }),
  })
  const until = fc.option(fc.integer({ min: NOW - 2, max: NOW + 2 }).map((time) => new Date(time).toISOString()))
  const state: fc.Arbitrary<TriggerState> = fc.record({
    hold: fc.option(fc.constant({ reason: 'rolled back' })),
    freeze: fc.option(fc.record({ reason: fc.constant('sale'), until })),
    now: fc.constant(NOW),
  })
  fc.assert(
    fc.property(event, rules, state, (anEvent, someRules, aState) => {
      const decision = decided(anEvent, someRules, aState)
      const reasons = model(anEvent, someRules, aState)
      expect(decision.verdict).toBe(reasons.size === 0 ? 'queue' : 'skip')
      expect(decision.reason).not.toBe('')
      if (decision.verdict === 'queue') return
      expect(reasons).toContain(decision.code)
      // Decided again later exactly when the push itself is fine.
      expect(decision.isFinal).toBe([...reasons].some((code) => code !== 'frozen' && code !== 'held'))
    }),
    { numRuns: 2000 },
  )
})

test.each<[string, PushEvent, Partial<TriggerRules>, boolean]>([
  ['a branch, and no paths are watched', PUSH, { tags: 'v*' }, false],
  ['a branch, and paths are watched', PUSH, { watch: ['api'] }, true],
  ['paths that can’t be told', { ...PUSH, changedPaths: null }, { watch: ['api'] }, false],
  ['a tag', tag('v1'), { tags: 'v*' }, true],
  ['a tag that no pattern may want', tag('v1'), {}, false],
  ['a deletion', { ...PUSH, isDeletion: true }, { watch: ['api'] }, false],
])('patterns are matched beforehand only where the decision may depend on them: %s', (_, event, rules, expected) => {
  expect(needsMatch(event, { ...RULES, ...rules })).toBe(expected)
})
