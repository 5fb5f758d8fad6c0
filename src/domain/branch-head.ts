import type { PushEvent } from './push.ts'

/** What was decided last about a branch or tag of an environment. */
export interface KnownHead {
  /** Null = deleted. */
  readonly sha: string | null
  /** What it pointed at before that push, where the host said. */
  readonly beforeSha: string | null
  readonly foundBy: 'webhook' | 'head-check' | 'replay'
  readonly deploymentId: string | null
  /** Where the branch stood when it was first looked at: nobody has decided about it yet. */
  readonly isBaseline: boolean
}

/**
 * - `next`: the push that was made on what is known; its commit may be deployed as it is.
 * - `known`: this commit was decided already.
 * - `overtaken`: hosts don't promise an order, and the push that was made on top of this one came first.
 * - `unsure`: neither. Whatever stands at the tip of the branch when it is fetched is what counts.
 */
export type PushOrder = 'next' | 'known' | 'overtaken' | 'unsure'

/** Where a push stands in the history of its ref as far as it is known; a replay of an old request is `overtaken` or `unsure`. */
export function orderOf(event: Pick<PushEvent, 'before' | 'after'>, head: KnownHead | null): PushOrder {
  if (head === null) return 'next'
  if (event.after === head.sha) return head.isBaseline ? 'next' : 'known'
  if (event.before === head.sha) return 'next'
  return event.after !== null && event.after === head.beforeSha ? 'overtaken' : 'unsure'
}

/** Full name of a ref, as git spells it. */
export function refName(ref: PushEvent['ref']): string {
  return `${ref.kind === 'branch' ? 'refs/heads/' : 'refs/tags/'}${ref.name}`
}
