import type { PullRequestAction, PullRequestEvent, WebhookEvent } from '../../domain/push.ts'
import { changedPathsOf } from './changed-paths.ts'
import { type Fields, fieldsOf, wrong } from './fields.ts'
import { commitIdOf, firstName, headCommitOf, parseRef, repositoryHint } from './git-fields.ts'
import { harmless } from './harmless-text.ts'
import { labelsOf, positive } from './hub-payload.ts'

/** By `object_kind`, which stands in the signed body; the header names the same event in other words. */
export function parseGitlabEvent(payload: Fields): WebhookEvent {
  const kind = payload.optionalText('object_kind')
  if (kind === null) {
    const event = payload.optionalText('event_name')
    if (event === null) throw wrong('payload.object_kind', 'a text')
    // GitLab turns webhooks off whose answers are refusals.
    return { kind: 'ignored', reason: `system hook ${harmless(event, 60)} does not deploy: make a webhook of the project` }
  }
  if (kind === 'push' || kind === 'tag_push') return parsePush(payload)
  if (kind === 'merge_request') return parseMergeRequest(payload)
  return { kind: 'ignored', reason: `event ${harmless(kind, 60)} does not deploy` }
}

/** GitLab lists the newest 20 commits and says the total; it says nothing about forced pushes. */
function parsePush(payload: Fields): WebhookEvent {
  const ref = parseRef(payload.text('ref'))
  if (typeof ref === 'string') return { kind: 'ignored', reason: ref }
  const before = commitIdOf(payload, 'before', 'payload')
  const after = commitIdOf(payload, 'after', 'payload')
  const isCreation = before === null
  const isDeletion = after === null
  const commits = payload.optionalList('commits')
  const total = payload.optionalInteger('total_commits_count')
  const isBranch = ref.kind === 'branch'
  return {
    kind: 'push',
    ref,
    before,
    after,
    isCreation,
    isDeletion,
    isForced: null,
    headCommit: isDeletion ? null : headCommitIn(payload, commits, after),
    ...changedPathsOf({ commits, total, listedMax: 20, after, isBranch, isCreation, isDeletion, isForced: null }),
    pusher: firstName(payload.optionalText('user_username'), payload.optionalText('user_name')),
    repository: repositoryOf(payload),
  }
}

/** `checkout_sha` is the commit where `after` may be a tag object. The push option `ci.skip` counts like a skip word. */
function headCommitIn(payload: Fields, commits: readonly unknown[] | null, after: string) {
  const checkout = commitIdOf(payload, 'checkout_sha', 'payload') ?? after
  const isSkipped = payload.optionalObject('push_options')?.optionalObject('ci')?.optionalBoolean('skip') ?? false
  for (const [index, commit] of (commits ?? []).entries()) {
    const at = `payload.commits[${index}]`
    const fields = fieldsOf(commit, at)
    if (fields.optionalText('id')?.toLowerCase() !== checkout) continue
    const head = headCommitOf(fields, at)
    return isSkipped ? { ...head, skipWord: head.skipWord ?? '-o ci.skip' } : head
  }
  return isSkipped ? { sha: checkout, message: '', author: '', skipWord: '-o ci.skip' } : null
}

const ACTIONS: Readonly<Record<string, PullRequestAction>> = { open: 'opened', reopen: 'reopened', close: 'closed', merge: 'closed' }

function parseMergeRequest(payload: Fields): PullRequestEvent {
  const at = 'payload.object_attributes'
  const request = payload.object('object_attributes')
  const headSha = commitIdOf(request.object('last_commit'), 'id', `${at}.last_commit`)
  if (headSha === null) throw wrong(`${at}.last_commit.id`, 'a commit id')
  const source = request.optionalInteger('source_project_id')
  const word = request.optionalText('action') ?? ''
  const state = request.optionalText('state') ?? ''
  return {
    kind: 'pullRequest',
    number: positive(request.integer('iid'), `${at}.iid`),
    action: word === 'update' ? updateOf(payload, request) : ((Object.hasOwn(ACTIONS, word) ? ACTIONS[word] : undefined) ?? 'other'),
    headSha,
    headRef: harmless(request.text('source_branch')),
    baseRef: harmless(request.text('target_branch')),
    isFork: source === null || source !== request.integer('target_project_id'),
    isDraft: request.optionalBoolean('draft') ?? request.optionalBoolean('work_in_progress') ?? false,
    isOpen: ACTIONS[word] !== 'closed' && !['closed', 'merged'].includes(state),
    isMerged: state === 'merged',
    labels: labelsOf(payload.optionalList('labels') ?? request.optionalList('labels'), `${at}.labels`, 'title'),
    author: harmless(payload.optionalObject('user')?.optionalText('username') ?? ''),
    title: harmless(request.optionalText('title') ?? ''),
    repository: repositoryOf(payload),
  }
}

/** `oldrev` is there only when commits were pushed. Which labels came or went is read off their number. */
function updateOf(payload: Fields, request: Fields): PullRequestAction {
  if (request.optionalText('oldrev') !== null) return 'synchronized'
  const labels = payload.optionalObject('changes')?.optionalObject('labels') ?? null
  if (labels === null) return 'edited'
  const now = labels.optionalList('current')?.length ?? 0
  return now < (labels.optionalList('previous')?.length ?? 0) ? 'unlabeled' : 'labeled'
}

function repositoryOf(payload: Fields) {
  return repositoryHint(payload.object('project'), 'path_with_namespace', ['web_url', 'git_http_url', 'git_ssh_url'])
}
