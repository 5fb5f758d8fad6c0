import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  decidePreview,
  holdsCredentials,
  isPullRef,
  type Preview,
  type PreviewRules,
  type PreviewState,
  previewHost,
  previewVariables,
  pullRef,
} from './preview.ts'
import type { PullRequestEvent } from './push.ts'

const NOW = Date.parse('2026-05-19T12:00:00Z')
const SHA = 'a'.repeat(40)
const OLD = 'b'.repeat(40)
const RULES: PreviewRules = { template: 'staging', baseBranch: null, label: null, drafts: true, forks: 'approve', ttlMs: 3_600_000, max: 5 }
const NONE: PreviewState = { preview: null, count: 0, approvedShas: new Set() }
const STANDING: Preview = { number: 42, headSha: OLD, expiresAt: new Date(NOW + 1).toISOString() }
const SOME: PreviewState = { preview: STANDING, count: 1, approvedShas: new Set() }
const REQUEST: PullRequestEvent = {
  kind: 'pullRequest',
  number: 42,
  action: 'opened',
  headSha: SHA,
  headRef: 'swell',
  baseRef: 'main',
  isFork: false,
  isDraft: false,
  isOpen: true,
  isMerged: false,
  labels: [],
  author: 'visitor',
  title: 'Show the swell',
  repository: { name: 'quayside/harbour', defaultBranch: 'main', urls: [] },
}
const decided = (event: Partial<PullRequestEvent>, rules: Partial<PreviewRules> = {}, state: PreviewState = NONE) =>
  decidePreview({ ...REQUEST, ...event }, { ...RULES, ...rules }, state)

describe('a pull request', () => {
  test('gets a preview when it opens, a new version when it is pushed to, and loses it when it closes', () => {
    expect(decided({})).toEqual({ action: 'create', headSha: SHA, reason: 'pull request #42 into main' })
    expect(decided({ action: 'synchronized' }, {}, SOME)).toMatchObject({ action: 'update', headSha: SHA })
    expect(decided({ action: 'closed', isOpen: false }, {}, SOME)).toEqual({ action: 'remove', reason: 'pull request #42 was closed' })
    expect(decided({ action: 'closed', isOpen: false, isMerged: true }, {}, SOME)).toMatchObject({ reason: 'pull request #42 was merged' })
  })

  test('says everything twice without harm', () => {
    const done = { ...SOME, preview: { ...STANDING, headSha: SHA } }
    expect(decided({}, {}, done)).toMatchObject({ action: 'none' })
    expect(decided({ action: 'closed', isOpen: false })).toMatchObject({ action: 'none' })
  })

  test('that missed its first event is made up for by the next', () => {
    expect(decided({ action: 'synchronized' })).toMatchObject({ action: 'create' })
    expect(decided({ action: 'reopened' })).toMatchObject({ action: 'create' })
    expect(decided({ action: 'other' })).toMatchObject({ action: 'none' })
    expect(decided({ action: 'labeled', isOpen: false })).toMatchObject({ action: 'none' })
  })

  test.each<[string, Partial<PullRequestEvent>, Partial<PreviewRules>]>([
    ['previews are off', {}, { template: null }],
    ['it goes into another branch', {}, { baseBranch: 'release' }],
    ['it lacks the label', { labels: ['other'] }, { label: 'preview' }],
    ['it is a draft', { isDraft: true }, { drafts: false }],
    ['it comes from a fork, and forks never do', { isFork: true }, { forks: 'never' }],
  ])('gets none when %s, and loses the one it has', (_, event, rules) => {
    expect(decided(event, rules)).toMatchObject({ action: 'none' })
    expect(decided(event, rules, SOME)).toMatchObject({ action: 'remove' })
  })

  test('gets one once it has the label', () => {
    expect(decided({ action: 'labeled', labels: ['preview'] }, { label: 'preview' })).toMatchObject({ action: 'create' })
  })

  test('waits while the project has its number of previews; those that stand are still updated', () => {
    expect(decided({}, { max: 5 }, { ...NONE, count: 5 })).toMatchObject({ action: 'none', reason: expect.stringContaining('5 previews') })
    expect(decided({}, { max: 5 }, { ...SOME, count: 5 })).toMatchObject({ action: 'update' })
  })
})

describe('a pull request from a fork', () => {
  test('needs an approval, and each further commit another one', () => {
    expect(decided({ isFork: true })).toMatchObject({ action: 'await-approval', headSha: SHA })
    expect(decided({ isFork: true }, {}, { ...NONE, approvedShas: new Set([OLD]) })).toMatchObject({ action: 'await-approval' })
    expect(decided({ isFork: true }, {}, { ...NONE, approvedShas: new Set([SHA]) })).toMatchObject({ action: 'create' })
    expect(decided({ isFork: true }, {}, SOME)).toMatchObject({ action: 'await-approval' })
  })

  test('never runs a commit that nobody approved, whatever the event says', () => {
    const event = fc.record({
      action: fc.constantFrom<PullRequestEvent['action']>('opened', 'synchronized', 'reopened', 'labeled', 'edited', 'other', 'closed'),
      isDraft: fc.boolean(),
      isOpen: fc.boolean(),
      labels: fc.subarray(['preview']),
      headSha: fc.constantFrom(SHA, OLD),
    })
    const state = fc.record({
      preview: fc.constantFrom(null, STANDING),
      count: fc.nat(6),
      approvedShas: fc.subarray([SHA, OLD]).map((shas) => new Set(shas)),
    })
    fc.assert(
      fc.property(event, state, (anEvent, aState) => {
        const decision = decided({ ...anEvent, isFork: true }, {}, aState)
        if (decision.action === 'create' || decision.action === 'update') expect(aState.approvedShas).toContain(anEvent.headSha)
      }),
    )
  })
})

describe('names', () => {
  test('of hosts fit DNS, and two long ones stay two', () => {
    const digest = (text: string) => String(text.length).padStart(8, '0')
    expect(previewHost({ service: 'api', project: null, number: 7 }, 'example.org', digest)).toBe('api-preview-7.example.org')
    expect(previewHost({ service: 'api', project: 'shop', number: 7 }, 'example.org', digest)).toBe('api-preview-7-shop.example.org')
    const name = fc.stringMatching(/^[a-z](?:[a-z0-9-]{0,38}[a-z0-9])?$/)
    fc.assert(
      fc.property(name, fc.option(name), fc.integer({ min: 1, max: 9_999_999 }), (service, project, number) => {
        const host = previewHost({ service, project, number }, 'example.org', digest)
        expect(host).toMatch(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.example\.org$/)
        expect(host).toContain(`preview-${number}`)
      }),
    )
  })
})

describe('where the code of a pull request is kept', () => {
  test('is a ref of the repository that it is for, and told from branches and tags', () => {
    expect(pullRef('github', 7)).toBe('refs/pull/7/head')
    expect(pullRef('gitea', 7)).toBe('refs/pull/7/head')
    expect(pullRef('gitlab', 7)).toBe('refs/merge-requests/7/head')
    expect([pullRef('github', 7), pullRef('gitlab', 7)].every(isPullRef)).toBe(true)
    expect(['refs/heads/refs/pull/7/head', 'refs/tags/v1', 'pull/7/head', ''].some(isPullRef)).toBe(false)
  })
})

describe('I8: variables of the template', () => {
  const variable = (name: string, more: object = {}) => ({ name, isSecret: false, isForPreviews: false, holdsCredentials: false, ...more })

  test('are inherited when plain; secrets and hidden passwords only when marked for previews', () => {
    const variables = [
      variable('LOG_LEVEL'),
      variable('API_KEY', { isSecret: true }),
      variable('SANDBOX_KEY', { isSecret: true, isForPreviews: true }),
      variable('DATABASE_URL', { holdsCredentials: true }),
      variable('TEST_DATABASE_URL', { holdsCredentials: true, isForPreviews: true }),
    ]
    const { inherited, withheld } = previewVariables(variables)
    expect(inherited.map(({ name }) => name)).toEqual(['LOG_LEVEL', 'SANDBOX_KEY', 'TEST_DATABASE_URL'])
    expect(withheld.map(({ name }) => name)).toEqual(['API_KEY', 'DATABASE_URL'])
  })

  test.each([
    ['postgres://app:hunter2@db/app', true],
    ['redis://:hunter2@cache:6379', true],
    ['https://user:pa%40ss@host/x', true],
    ['-----BEGIN OPENSSH PRIVATE KEY-----\nabc', true],
    ['postgres://app@db/app', false],
    ['https://example.org:8080/a@b', false],
    ['10:30@noon', false],
    ['a://'.repeat(20_000), false],
    [`a://${':'.repeat(60_000)}`, false],
  ])('%.40s holds credentials: %s', (value, expected) => {
    expect(holdsCredentials(value)).toBe(expected)
  })
})
