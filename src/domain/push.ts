/**
 * What a git host's webhook says, in one form for all of them. Every text in it is printable and bounded (I9), and all of it is a hint:
 * code is fetched from the service's own source, never from an address that stands in a payload.
 */
export type WebhookEvent = PingEvent | PushEvent | PullRequestEvent | IgnoredEvent

export interface PingEvent {
  readonly kind: 'ping'
  readonly repository: RepositoryHint | null
}

/** Understood, and nothing to do with deployments. */
export interface IgnoredEvent {
  readonly kind: 'ignored'
  /** One sentence for the delivery log. */
  readonly reason: string
}

export interface GitRef {
  readonly kind: 'branch' | 'tag'
  /** Without `refs/heads/` or `refs/tags/`. Exactly as pushed: a name that had to be altered to be printable never gets here. */
  readonly name: string
}

export interface PushEvent {
  readonly kind: 'push'
  readonly ref: GitRef
  /** Full commit id in lower case; null when the ref is new. */
  readonly before: string | null
  /** Null when the ref is deleted. Of an annotated tag it may be the tag object; `headCommit` is the commit. */
  readonly after: string | null
  readonly isCreation: boolean
  readonly isDeletion: boolean
  /** Null: this host does not say. */
  readonly isForced: boolean | null
  readonly headCommit: HeadCommit | null
  /** What changed, each path once; null = the payload can't tell, `changedPathsNote` says why. */
  readonly changedPaths: readonly string[] | null
  readonly changedPathsNote: string | null
  /** Account that pushed, as the host names it; null = the payload does not say. */
  readonly pusher: string | null
  readonly repository: RepositoryHint
}

export interface HeadCommit {
  readonly sha: string
  /** Line breaks kept, the end may be cut. */
  readonly message: string
  readonly author: string
  /** The word by which the whole message asks not to be deployed, as written; null = none. */
  readonly skipWord: string | null
}

/** For showing and for comparing with the configured address; never cloned. */
export interface RepositoryHint {
  /** `owner/name`. */
  readonly name: string
  readonly defaultBranch: string | null
  /** Web, https and ssh addresses as far as given, without credentials. */
  readonly urls: readonly string[]
}

/** `edited` stands for every change of what the request says: title, base branch, draft or ready. */
export const PULL_REQUEST_ACTIONS = ['opened', 'synchronized', 'reopened', 'closed', 'labeled', 'unlabeled', 'edited', 'other'] as const
export type PullRequestAction = (typeof PULL_REQUEST_ACTIONS)[number]

/** A pull or merge request. */
export interface PullRequestEvent {
  readonly kind: 'pullRequest'
  readonly number: number
  readonly action: PullRequestAction
  readonly headSha: string
  readonly headRef: string
  readonly baseRef: string
  /** The code comes from another repository; also true when the payload no longer names it (a deleted fork). */
  readonly isFork: boolean
  readonly isDraft: boolean
  readonly isOpen: boolean
  readonly isMerged: boolean
  readonly labels: readonly string[]
  readonly author: string
  readonly title: string
  readonly repository: RepositoryHint
}

const SKIP_WORD = /\[(?:skip ci|ci skip)\]/i

/** `[skip ci]` or `[ci skip]` anywhere in a commit message, in any case; null = neither. */
export function findSkipWord(message: string): string | null {
  return SKIP_WORD.exec(message)?.[0] ?? null
}
