import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import type { PullRequestEvent, PushEvent } from '../../domain/push.ts'
import type { Webhook, WebhookHeaders } from './webhook.ts'
import { createWebhooks } from './webhooks.ts'

type Json = Record<string, unknown>

const webhooks = createWebhooks({ now: () => 0 })
const fixture = (name: string): Json => JSON.parse(readFileSync(new URL(`payloads/${name}.json`, import.meta.url), 'utf8'))
const EVENT_HEADERS = { github: 'X-GitHub-Event', gitea: 'X-Gitea-Event', gitlab: 'X-Gitlab-Event' }

function parse(provider: keyof typeof EVENT_HEADERS, event: string, payload: Json, headers: WebhookHeaders = {}) {
  const webhook: Webhook = webhooks[provider]
  return webhook.parse(
    { [EVENT_HEADERS[provider]]: event, 'content-type': 'application/json', ...headers },
    Buffer.from(JSON.stringify(payload)),
  )
}
const push = (provider: keyof typeof EVENT_HEADERS, payload: Json) => parse(provider, 'push', payload) as PushEvent

const ZEROS = '0'.repeat(40)

describe('github', () => {
  test('a push to a branch', () => {
    expect(parse('github', 'push', fixture('github-push'))).toEqual({
      kind: 'push',
      ref: { kind: 'branch', name: 'main' },
      before: '6113728f27ae82c7b1a177c8d03f9e96e0adf246',
      after: '0d1a26e67d8f5eaf1f6ba5c57fc3c7d91ac0fd1c',
      isCreation: false,
      isDeletion: false,
      isForced: false,
      headCommit: {
        sha: '0d1a26e67d8f5eaf1f6ba5c57fc3c7d91ac0fd1c',
        message: 'Merge pull request #12 from quayside/tide\n\nBerth plan by tide',
        author: 'Mara Lind',
        skipWord: null,
      },
      changedPaths: ['apps/api/src/tide.ts', 'apps/api/package.json', 'README.md', 'apps/api/src/moon.ts'],
      changedPathsNote: null,
      pusher: 'mara',
      repository: {
        name: 'quayside/harbour',
        defaultBranch: 'main',
        urls: ['https://github.com/quayside/harbour', 'https://github.com/quayside/harbour.git', 'git@github.com:quayside/harbour.git'],
      },
    })
  })

  test('a ping', () => {
    expect(parse('github', 'ping', fixture('github-ping'))).toMatchObject({ kind: 'ping', repository: { name: 'quayside/harbour' } })
    expect(parse('github', 'ping', { zen: 'Non-blocking is better than blocking.' })).toEqual({ kind: 'ping', repository: null })
  })

  test('a new branch, a deleted branch, a forced push', () => {
    const payload = fixture('github-push')
    expect(push('github', { ...payload, before: ZEROS, created: true })).toMatchObject({
      isCreation: true,
      before: null,
      changedPaths: null,
    })
    expect(push('github', { ...payload, after: ZEROS, deleted: true, head_commit: null, commits: [] })).toMatchObject({
      isDeletion: true,
      after: null,
      headCommit: null,
    })
    expect(push('github', { ...payload, forced: true })).toMatchObject({ isForced: true, changedPaths: null })
  })

  test('an annotated tag has the tag object as after, and the commit as head', () => {
    const tag = { ...fixture('github-push'), ref: 'refs/tags/v2', before: ZEROS, after: 'a'.repeat(40), created: true, commits: [] }
    expect(push('github', tag)).toMatchObject({
      ref: { kind: 'tag', name: 'v2' },
      after: 'a'.repeat(40),
      headCommit: { sha: '0d1a26e67d8f5eaf1f6ba5c57fc3c7d91ac0fd1c' },
    })
  })

  test('repositories with SHA-256 have ids of 64 digits', () => {
    const after = 'C'.repeat(64)
    const payload = { ...fixture('github-push'), after, head_commit: { id: after, message: 'x' } }
    expect(push('github', payload)).toMatchObject({ after: 'c'.repeat(64), headCommit: { sha: 'c'.repeat(64), author: '' } })
  })

  test('a pull request from a fork', () => {
    expect(parse('github', 'pull_request', fixture('github-pull-request'))).toEqual({
      kind: 'pullRequest',
      number: 42,
      action: 'synchronized',
      headSha: 'ec26c3e57ca3a959ca5aad62de7213c562f8c821',
      headRef: 'swell',
      baseRef: 'main',
      isFork: true,
      isDraft: false,
      isOpen: true,
      isMerged: false,
      labels: ['preview'],
      author: 'visitor',
      title: 'Show the swell',
      repository: expect.objectContaining({ name: 'quayside/harbour' }),
    })
  })

  test.each([
    ['opened', 'opened'],
    ['reopened', 'reopened'],
    ['closed', 'closed'],
    ['labeled', 'labeled'],
    ['unlabeled', 'unlabeled'],
    ['edited', 'edited'],
    ['ready_for_review', 'edited'],
    ['converted_to_draft', 'edited'],
    ['assigned', 'other'],
    ['constructor', 'other'],
    ['__proto__', 'other'],
  ])('the action %s is %s', (action, expected) => {
    expect(parse('github', 'pull_request', { ...fixture('github-pull-request'), action })).toMatchObject({ action: expected })
  })

  test('a pull request is from a fork unless both repositories are named and the same', () => {
    const payload = fixture('github-pull-request')
    const pull = payload.pull_request as { head: Json; base: Json }
    const from = (repo: unknown) =>
      (parse('github', 'pull_request', { ...payload, pull_request: { ...pull, head: { ...pull.head, repo } } }) as PullRequestEvent).isFork
    expect(from({ id: 186853002 })).toBe(false)
    for (const repo of [null, undefined, {}, { id: null }, { id: 1 }]) expect(from(repo)).toBe(true)
  })

  test('a request that is closed stays closed whatever the action is', () => {
    const payload = fixture('github-pull-request')
    const pull = payload.pull_request as Json
    const closed = { ...payload, action: 'labeled', pull_request: { ...pull, state: 'closed' } }
    expect(parse('github', 'pull_request', closed)).toMatchObject({ action: 'labeled', isOpen: false })
  })

  test('other events and refs are ignored with a reason', () => {
    expect(parse('github', 'check_suite', {})).toEqual({ kind: 'ignored', reason: 'event check_suite does not deploy' })
    expect(parse('github', '', {})).toMatchObject({ kind: 'ignored' })
    expect(push('github', { ...fixture('github-push'), ref: 'refs/pull/1/merge' })).toEqual({
      kind: 'ignored',
      reason: 'refs/pull/1/merge is neither a branch nor a tag',
    })
  })
})

describe('gitea and forgejo', () => {
  test('a push', () => {
    expect(push('gitea', fixture('gitea-push'))).toMatchObject({
      ref: { kind: 'branch', name: 'develop' },
      before: '28e1879d029cb852e4844d9c718537df08844e03',
      after: 'bffeb74224043ba2feb48d137756c8a9331c449a',
      isCreation: false,
      isDeletion: false,
      isForced: null,
      headCommit: { author: 'Jonas', message: 'Buoys on the map\n' },
      changedPaths: ['web/map/buoys.svg', 'web/map/index.ts'],
      repository: { urls: expect.arrayContaining(['ssh://git.example.org:2222/quayside/harbour.git']) },
    })
  })

  test('a push of a version that names neither head nor total', () => {
    const { head_commit: _head, total_commits: _total, ...payload } = fixture('gitea-push')
    expect(push('gitea', payload)).toMatchObject({ headCommit: { author: 'Jonas' }, changedPaths: expect.any(Array) })
  })

  test('creation and deletion are read from the ids, which is all there is', () => {
    const payload = { ...fixture('gitea-push'), head_commit: null, commits: [], total_commits: 0 }
    expect(push('gitea', { ...payload, before: ZEROS })).toMatchObject({ isCreation: true, isDeletion: false })
    expect(push('gitea', { ...payload, after: ZEROS })).toMatchObject({ isCreation: false, isDeletion: true, headCommit: null })
  })

  test('a pull request of the same repository', () => {
    const payload = fixture('gitea-pull-request')
    expect(parse('gitea', 'pull_request', payload)).toMatchObject({
      number: 7,
      action: 'opened',
      isFork: false,
      labels: [],
      author: 'jonas',
    })
    expect(parse('gitea', 'pull_request', { ...payload, action: 'synchronized' })).toMatchObject({ action: 'synchronized' })
    expect(parse('gitea', 'pull_request', { ...payload, action: 'label_updated' })).toMatchObject({ action: 'labeled' })
  })

  test.each(['X-Forgejo-Event', 'X-Gogs-Event', 'X-GitHub-Event'])('the event may stand in %s', (name) => {
    const body = Buffer.from(JSON.stringify(fixture('gitea-push')))
    expect(webhooks.gitea.parse({ [name]: 'push' }, body).kind).toBe('push')
  })
})

describe('gitlab', () => {
  test('a push', () => {
    expect(push('gitlab', fixture('gitlab-push'))).toMatchObject({
      ref: { kind: 'branch', name: 'main' },
      isForced: null,
      headCommit: { sha: 'da1560886d4f094c3e6c9ef40349f7d38b5d27d7', message: 'Fix the count', author: 'Ines Faro', skipWord: null },
      changedPaths: ['services/gulls/count.go', 'services/gulls/main.go'],
      repository: { name: 'quayside/harbour', defaultBranch: 'main' },
    })
  })

  test('an annotated tag: the head is the commit that was checked out', () => {
    expect(parse('gitlab', 'Tag Push Hook', fixture('gitlab-tag'))).toMatchObject({
      ref: { kind: 'tag', name: 'v1.4.0' },
      isCreation: true,
      after: '82b3d5ae55f7080f1e6022629cdb57bfae7cccc7',
      headCommit: { sha: 'da1560886d4f094c3e6c9ef40349f7d38b5d27d7' },
      changedPaths: null,
    })
  })

  test('a deleted branch', () => {
    const payload = { ...fixture('gitlab-push'), after: ZEROS, checkout_sha: null, commits: [], total_commits_count: 0 }
    expect(push('gitlab', payload)).toMatchObject({ isDeletion: true, after: null, headCommit: null })
  })

  test('more commits than are listed leave the paths untold', () => {
    expect(push('gitlab', { ...fixture('gitlab-push'), total_commits_count: 27 })).toMatchObject({
      changedPaths: null,
      changedPathsNote: 'the payload lists only 2 of 27 commits',
    })
  })

  test('the push option ci.skip counts like a skip word', () => {
    const payload = { ...fixture('gitlab-push'), push_options: { ci: { skip: true } } }
    expect(push('gitlab', payload).headCommit?.skipWord).toBe('-o ci.skip')
    expect(push('gitlab', { ...payload, commits: [], total_commits_count: 0 }).headCommit?.skipWord).toBe('-o ci.skip')
  })

  test('a merge request', () => {
    expect(parse('gitlab', 'Merge Request Hook', fixture('gitlab-merge-request'))).toMatchObject({
      kind: 'pullRequest',
      number: 16,
      action: 'synchronized',
      headSha: 'c1e6a1b2d3f4051627384950a1b2c3d4e5f60718',
      headRef: 'ferries',
      baseRef: 'main',
      isFork: false,
      isDraft: true,
      isOpen: true,
      labels: ['preview'],
      author: 'visitor',
    })
  })

  test.each([
    ['open', 'opened', {}, {}],
    ['reopen', 'reopened', {}, {}],
    ['close', 'closed', { state: 'closed' }, {}],
    ['merge', 'closed', { state: 'merged' }, {}],
    ['update', 'edited', {}, {}],
    ['update', 'labeled', {}, { labels: { previous: [], current: [{ title: 'a' }] } }],
    ['update', 'unlabeled', {}, { labels: { previous: [{ title: 'a' }], current: [] } }],
    ['approved', 'other', {}, {}],
  ])('the action %s may be %s', (action, expected, attributes, changes) => {
    const payload = fixture('gitlab-merge-request')
    const { oldrev: _, ...old } = payload.object_attributes as Json
    const event = parse('gitlab', 'Merge Request Hook', { ...payload, object_attributes: { ...old, ...attributes, action }, changes })
    expect(event).toMatchObject({ action: expected, isOpen: expected !== 'closed', isMerged: action === 'merge' })
  })

  test('a merge request from another project, or from one that is gone, is from a fork', () => {
    const payload = fixture('gitlab-merge-request')
    const attributes = payload.object_attributes as Json
    for (const source_project_id of [16, null]) {
      const event = parse('gitlab', 'x', { ...payload, object_attributes: { ...attributes, source_project_id } })
      expect(event).toMatchObject({ isFork: true })
    }
  })

  test.each(['push', 'repository_update', 'user_create'])(
    'the system hook %s is ignored, not refused: GitLab turns off what refuses',
    (event_name) => {
      expect(parse('gitlab', 'System Hook', { event_name, ref: 'refs/heads/main' })).toEqual({
        kind: 'ignored',
        reason: `system hook ${event_name} does not deploy: make a webhook of the project`,
      })
    },
  )

  test('the event is read from the body, which the signature covers, not from the header', () => {
    expect(parse('gitlab', 'Push Hook', { ...fixture('gitlab-push'), object_kind: 'note' })).toMatchObject({ kind: 'ignored' })
    expect(parse('gitlab', 'System Hook', fixture('gitlab-push'))).toMatchObject({ kind: 'push' })
  })
})

describe('delivery ids', () => {
  const body = Buffer.from('{}')
  const digest = '44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a'

  test('are the ones of the host', () => {
    expect(webhooks.github.identify({ 'X-GitHub-Delivery': '72d3162e', 'x-github-event': 'push' }, body)).toEqual({
      id: '72d3162e',
      event: 'push',
      bodyDigest: digest,
    })
    expect(webhooks.gitea.identify({ 'x-gitea-delivery': 'f6266f16', 'x-github-delivery': 'other' }, body).id).toBe('f6266f16')
    expect(webhooks.gitlab.identify({ 'Idempotency-Key': 'k', 'X-Gitlab-Event-UUID': 'u' }, body).id).toBe('k')
    expect(webhooks.gitlab.identify({ 'webhook-id': 'signed', 'Idempotency-Key': 'k' }, body).id).toBe('signed')
  })

  test('of older GitLab count together with the body: one event may set off several deliveries', () => {
    expect(webhooks.gitlab.identify({ 'X-Gitlab-Event-UUID': 'u' }, body).id).toBe(`u:${digest.slice(0, 32)}`)
  })

  test.each([[undefined], [''], ['x'.repeat(129)], ['with space'], ['\u001b[31m'], ['ümlaut']])(
    'the unusable %j is replaced by the digest of the body',
    (id) => {
      for (const webhook of Object.values(webhooks)) {
        const headers = { 'x-github-delivery': id, 'x-gitea-delivery': id, 'idempotency-key': id }
        expect(webhook.identify(headers, body)).toMatchObject({ id: `body:${digest}` })
      }
    },
  )
})

test('what a provider would send, it accepts and reads', () => {
  const payloads = { github: 'github-push', gitea: 'gitea-push', gitlab: 'gitlab-push' }
  for (const webhook of Object.values(webhooks)) {
    const rawBody = Buffer.from(JSON.stringify(fixture(payloads[webhook.provider])))
    for (const secret of ['plain', `whsec_${Buffer.alloc(32, 7).toString('base64')}`]) {
      const headers = webhook.sign({ id: 'test-1', event: 'push', rawBody, secret })
      expect(webhook.verify({ headers, rawBody, secrets: [secret] })).toEqual({ isAccepted: true, secret: 0 })
      expect(webhook.identify(headers, rawBody)).toMatchObject({ id: 'test-1' })
      expect(webhook.parse(headers, rawBody).kind).toBe('push')
    }
  }
})
