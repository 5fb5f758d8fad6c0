import type { PullRequestAction, PullRequestEvent, PushEvent, RepositoryHint, WebhookEvent } from '../../domain/push.ts'
import { changedPathsOf } from './changed-paths.ts'
import { type Fields, fieldsOf, wrong } from './fields.ts'
import { commitIdOf, firstName, headCommitOf, parseRef, repositoryHint } from './git-fields.ts'
import { harmless } from './harmless-text.ts'

/** Payloads of GitHub and of those who follow its form: Gitea, Forgejo, Gogs. */
export interface HubDialect {
  /** Most commits listed in one push; null when `total_commits` always tells how many there were. */
  readonly listedMax: number
}

export function parseHubEvent(event: string, payload: Fields, dialect: HubDialect): WebhookEvent {
  if (event === 'push') return parsePush(payload, dialect)
  if (event === 'pull_request') return parsePullRequest(payload)
  if (event === 'ping') {
    const repository = payload.optionalObject('repository')
    return { kind: 'ping', repository: repository === null ? null : hubRepository(repository) }
  }
  if (event === '') return { kind: 'ignored', reason: 'the request does not say which event it is' }
  return { kind: 'ignored', reason: `event ${harmless(event, 60)} does not deploy` }
}

function parsePush(payload: Fields, dialect: HubDialect): PushEvent | { readonly kind: 'ignored'; readonly reason: string } {
  const ref = parseRef(payload.text('ref'))
  if (typeof ref === 'string') return { kind: 'ignored', reason: ref }
  const before = commitIdOf(payload, 'before', 'payload')
  const after = commitIdOf(payload, 'after', 'payload')
  const isCreation = payload.optionalBoolean('created') ?? before === null
  const isDeletion = payload.optionalBoolean('deleted') === true || after === null
  const isForced = payload.optionalBoolean('forced')
  const commits = payload.optionalList('commits')
  const total = payload.optionalInteger('total_commits')
  const push = { commits, total, listedMax: dialect.listedMax, after, isBranch: ref.kind === 'branch', isCreation, isDeletion, isForced }
  return {
    kind: 'push',
    ref,
    before,
    after: isDeletion ? null : after,
    isCreation,
    isDeletion,
    isForced,
    headCommit: isDeletion ? null : headCommitIn(payload, commits, after),
    ...changedPathsOf(push),
    pusher: pusherOf(payload),
    repository: hubRepository(payload.object('repository')),
  }
}

/** GitHub gives `name`, Gitea an account with `login` (Gogs `username`). */
function pusherOf(payload: Fields): string | null {
  const pusher = payload.optionalObject('pusher')
  return pusher === null ? null : firstName(pusher.optionalText('login'), pusher.optionalText('name'), pusher.optionalText('username'))
}

/** `head_commit`, or the newest of the list where the host has no such field. */
function headCommitIn(payload: Fields, commits: readonly unknown[] | null, after: string | null) {
  const head = payload.optionalObject('head_commit')
  if (head !== null) return headCommitOf(head, 'payload.head_commit')
  for (const [index, commit] of (commits ?? []).entries()) {
    const at = `payload.commits[${index}]`
    const fields = fieldsOf(commit, at)
    if (fields.optionalText('id')?.toLowerCase() === after) return headCommitOf(fields, at)
  }
  return null
}

const ACTIONS: Readonly<Record<string, PullRequestAction>> = {
  opened: 'opened',
  synchronize: 'synchronized',
  synchronized: 'synchronized',
  reopened: 'reopened',
  closed: 'closed',
  labeled: 'labeled',
  label_updated: 'labeled',
  unlabeled: 'unlabeled',
  label_cleared: 'unlabeled',
  edited: 'edited',
  ready_for_review: 'edited',
  converted_to_draft: 'edited',
}

function parsePullRequest(payload: Fields): PullRequestEvent {
  const pull = payload.object('pull_request')
  const at = 'payload.pull_request'
  const head = pull.object('head')
  const base = pull.object('base')
  const headSha = commitIdOf(head, 'sha', `${at}.head`)
  if (headSha === null) throw wrong(`${at}.head.sha`, 'a commit id')
  const action = payload.text('action')
  return {
    kind: 'pullRequest',
    number: positive(payload.optionalInteger('number') ?? pull.integer('number'), 'payload.number'),
    action: (Object.hasOwn(ACTIONS, action) ? ACTIONS[action] : undefined) ?? 'other',
    headSha,
    headRef: harmless(head.text('ref')),
    baseRef: harmless(base.text('ref')),
    isFork: !isSameRepository(head, base),
    isDraft: pull.optionalBoolean('draft') ?? false,
    isOpen: action !== 'closed' && (pull.optionalText('state') ?? 'open') === 'open',
    isMerged: pull.optionalBoolean('merged') ?? false,
    labels: labelsOf(pull.optionalList('labels'), `${at}.labels`, 'name'),
    author: harmless(pull.optionalObject('user')?.optionalText('login') ?? ''),
    title: harmless(pull.optionalText('title') ?? ''),
    repository: hubRepository(payload.object('repository')),
  }
}

/** Anything but two equal ids is a fork: what can't be told must not get the rights of the repository's own branches. */
function isSameRepository(head: Fields, base: Fields): boolean {
  const headId = head.optionalObject('repo')?.optionalInteger('id') ?? null
  return headId !== null && headId === (base.optionalObject('repo')?.optionalInteger('id') ?? null)
}

export function labelsOf(list: readonly unknown[] | null, at: string, key: string): string[] {
  return (list ?? []).slice(0, 100).map((label, index) => harmless(fieldsOf(label, `${at}[${index}]`).optionalText(key) ?? '', 100))
}

export function positive(value: number, at: string): number {
  if (value < 1 || value > 2_147_483_647) throw wrong(at, 'a number from 1')
  return value
}

function hubRepository(repository: Fields): RepositoryHint {
  return repositoryHint(repository, 'full_name', ['html_url', 'clone_url', 'ssh_url'])
}
