import type { PushEvent, WebhookEvent } from './push.ts'

/** When a push deploys a service. */
export interface TriggerRules {
  /** Pushes to this branch deploy; null = the repository's default branch. */
  readonly branch: string | null
  /** Pushed tags that match this pattern deploy; null = none do. */
  readonly tags: string | null
  /** Only pushes that change a path of one of these patterns deploy; empty = all do. */
  readonly watch: readonly string[]
}

/** Rules as a configuration says them; what an older one does not have is missing. */
export type SaidRules = Partial<TriggerRules>

/** The environment's own branch counts before that of the configuration. */
export function rulesOf({ branch, rules }: { readonly branch: string | null; readonly rules: SaidRules }): TriggerRules {
  return { branch: branch ?? rules.branch ?? null, tags: rules.tags ?? null, watch: rules.watch ?? [] }
}

/** What the patterns of `TriggerRules` say about one push. Found out beforehand: matching may take a while, deciding may not. */
export interface TriggerMatch {
  /** One of the changed paths is watched. */
  readonly isWatched: boolean
  readonly isTagWanted: boolean
}

/** False when nothing depends on what patterns say. */
export function needsMatch(event: PushEvent, rules: TriggerRules): boolean {
  if (event.isDeletion) return false
  return (event.ref.kind === 'tag' && rules.tags !== null) || (rules.watch.length > 0 && event.changedPaths !== null)
}

/** What holds automatic deployments back at this moment. */
export interface TriggerState {
  /** Of this service and environment, set by a rollback or by hand. */
  readonly hold: { readonly reason: string } | null
  /** Of the environment or project; `until` is ISO time, null = until it is lifted. */
  readonly freeze: { readonly reason: string; readonly until: string | null } | null
  /** ms since the epoch. */
  readonly now: number
}

/** Why a push does not deploy, in the order in which it is looked at; docs/webhooks.md is printed from this table. */
export const SKIP_MEANINGS = {
  'not-a-push': 'a ping, another event, or a ref that is neither branch nor tag',
  'no-environment': 'the service is in no environment yet',
  deletion: 'the branch or tag was deleted',
  branch: 'it is another branch than the environment’s (or the repository’s default branch, when none is set)',
  tag: 'no tag pattern is set, or it does not match',
  'skip-word':
    'the message of the newest commit has `[skip ci]` or `[ci skip]` anywhere, in any case; at GitLab also `git push -o ci.skip`. Holds for tags too',
  watch: 'every changed path is known, and none is watched',
  known: 'this commit of the branch was decided already: by another webhook, by the look at the branch heads, or by hand',
  overtaken: 'the push that was made on top of it arrived first',
  'unusable-ref': 'the name of the branch or tag holds what is never given to git',
  frozen: 'a freeze holds; decided again when it ends',
  held: 'a rollback or a person put automatic deployments on hold; decided again when that ends',
  'queue-full': 'too many deployments wait already; decided again when there is room',
} as const
export type SkipCode = keyof typeof SKIP_MEANINGS

export type TriggerDecision =
  | { readonly verdict: 'queue'; readonly reason: string }
  | {
      readonly verdict: 'skip'
      readonly code: SkipCode
      readonly reason: string
      /** False: only the state of the environment speaks against it, so it is to be decided again when that state ends. */
      readonly isFinal: boolean
    }

/** Whether an event deploys a service, with the reason as one sentence. What is wrong with the push itself is said before hold and freeze. */
export function decide(event: WebhookEvent, rules: TriggerRules, state: TriggerState, match: TriggerMatch): TriggerDecision {
  if (event.kind === 'ignored') return skip('not-a-push', event.reason)
  if (event.kind === 'ping') return skip('not-a-push', 'a ping: the webhook is set up')
  if (event.kind === 'pullRequest') return skip('not-a-push', `pull request #${event.number} is a matter of previews`)
  return decideRef(event, rules, match) ?? decideChange(event, rules, match) ?? decideState(state) ?? queue(event, rules)
}

function decideRef(event: PushEvent, rules: TriggerRules, match: TriggerMatch): TriggerDecision | null {
  const { kind, name } = event.ref
  if (event.isDeletion) return skip('deletion', `${kind} ${name} was deleted`)
  if (kind === 'tag') {
    if (rules.tags === null) return skip('tag', `tag ${name}: tags do not deploy this service`)
    return match.isTagWanted ? null : skip('tag', `tag ${name} does not match ${rules.tags}`)
  }
  const wanted = rules.branch ?? event.repository.defaultBranch
  if (wanted === null) return skip('branch', `branch ${name}: no branch is configured, and the payload does not name the default one`)
  if (wanted === name) return null
  return skip('branch', `branch ${name} is not ${wanted}${rules.branch === null ? ', the default branch' : ''}`)
}

function decideChange(event: PushEvent, rules: TriggerRules, match: TriggerMatch): TriggerDecision | null {
  const skipWord = event.headCommit?.skipWord ?? null
  if (skipWord !== null) return skip('skip-word', `the commit message says ${skipWord}`)
  if (rules.watch.length === 0 || event.changedPaths === null) return null
  if (match.isWatched) return null
  return skip('watch', `none of the ${count(event.changedPaths.length)} matches ${listed(rules.watch)}`)
}

function decideState(state: TriggerState): TriggerDecision | null {
  const { freeze, hold } = state
  if (freeze !== null && !(freeze.until !== null && Date.parse(freeze.until) <= state.now)) {
    return skip('frozen', `frozen ${freeze.until === null ? 'until lifted' : `until ${freeze.until}`}: ${freeze.reason}`, false)
  }
  if (hold !== null) return skip('held', `automatic deployments are on hold: ${hold.reason}`, false)
  return null
}

function queue(event: PushEvent, rules: TriggerRules): TriggerDecision {
  const push = `push to ${event.ref.kind} ${event.ref.name}`
  if (rules.watch.length === 0) return { verdict: 'queue', reason: push }
  if (event.changedPaths === null) {
    return { verdict: 'queue', reason: `${push}; which paths changed can’t be told: ${event.changedPathsNote ?? 'no list of files'}` }
  }
  return { verdict: 'queue', reason: `${push}; it changes a watched path` }
}

function skip(code: SkipCode, reason: string, isFinal = true): TriggerDecision {
  return { verdict: 'skip', code, reason, isFinal }
}

function count(paths: number): string {
  return paths === 1 ? '1 changed path' : `${paths} changed paths`
}

function listed(patterns: readonly string[]): string {
  const shown = patterns.slice(0, 3).join(', ')
  return patterns.length > 3 ? `${shown} or ${patterns.length - 3} more` : shown
}
