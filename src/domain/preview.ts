import type { PullRequestEvent } from './push.ts'

/** How a service's pull requests get environments of their own. */
export interface PreviewRules {
  /** Name of the environment whose services and variables a preview starts from; null = previews are off. */
  readonly template: string | null
  /** Only pull requests into this branch; null = any. */
  readonly baseBranch: string | null
  /** Only pull requests that carry this label; null = all. */
  readonly label: string | null
  readonly drafts: boolean
  /** `never` refuses pull requests from forks outright; `approve` waits for somebody's word on each commit. */
  readonly forks: 'never' | 'approve'
  /** Since the last push, after which a preview goes. */
  readonly ttlMs: number
  /** At the same time, per project. */
  readonly max: number
}

/** A preview that exists. */
export interface Preview {
  readonly number: number
  readonly headSha: string
  /** ISO time. */
  readonly expiresAt: string
}

export interface PreviewState {
  /** Of this pull request. */
  readonly preview: Preview | null
  /** Previews of the project, this one included. */
  readonly count: number
  /** Commits of this pull request that a developer or owner has approved. */
  readonly approvedShas: ReadonlySet<string>
}

export type PreviewDecision =
  | { readonly action: 'create' | 'update'; readonly headSha: string; readonly reason: string }
  | { readonly action: 'remove' | 'none'; readonly reason: string }
  /** The commit is to be shown to somebody who may approve it; what stands already goes on serving. */
  | { readonly action: 'await-approval'; readonly headSha: string; readonly reason: string }

/** Environment of a pull request. The same number always has the same name, so making it twice finds the first. */
export function previewName(number: number): string {
  return `preview-${number}`
}

/** Where a git host keeps the code of a pull or merge request, in the repository that it is for. */
export function pullRef(provider: 'github' | 'gitlab' | 'gitea', number: number): string {
  return provider === 'gitlab' ? `refs/merge-requests/${number}/head` : `refs/pull/${number}/head`
}

/** True for what `pullRef` makes: anybody may push there, so only the commit that was decided on counts, never what came after it. */
export function isPullRef(ref: string): boolean {
  return /^refs\/(?:merge-requests|pull)\//.test(ref)
}

const HOST_LABEL_MAX = 63

/**
 * `<service>-preview-<n>[-<project>].<domain>`. A label longer than DNS allows is cut and ends in `digest` of the whole, so that two long
 * names stay two hosts. `digest` gives lower case letters and digits, at most 12.
 */
export function previewHost(
  names: { readonly service: string; readonly project: string | null; readonly number: number },
  domain: string,
  digest: (text: string) => string,
): string {
  const label = [names.service, previewName(names.number), ...(names.project === null ? [] : [names.project])].join('-')
  if (label.length <= HOST_LABEL_MAX) return `${label}.${domain}`
  const end = `-${previewName(names.number)}-${digest(label)}`
  return `${names.service.slice(0, HOST_LABEL_MAX - end.length).replace(/-+$/, '')}${end}.${domain}`
}

/** What a pull request's event means for its preview. */
export function decidePreview(event: PullRequestEvent, rules: PreviewRules, state: PreviewState): PreviewDecision {
  const name = `pull request #${event.number}`
  if (!event.isOpen) return removeOr(state, `${name} was ${event.isMerged ? 'merged' : 'closed'}`)
  const unwanted = whyUnwanted(event, rules)
  if (unwanted !== null) return removeOr(state, `${name} ${unwanted}`)
  if (event.action === 'other') return { action: 'none', reason: `nothing that a preview shows changed in ${name}` }
  const { headSha } = event
  if (state.preview?.headSha === headSha) return { action: 'none', reason: `${previewName(event.number)} has this commit already` }
  if (state.preview === null && state.count >= rules.max) {
    return { action: 'none', reason: `the project has its ${rules.max} previews; close a pull request or raise the limit` }
  }
  if (event.isFork && !state.approvedShas.has(headSha)) {
    return { action: 'await-approval', headSha, reason: `${name} comes from a fork: commit ${headSha.slice(0, 12)} needs an approval` }
  }
  return state.preview === null
    ? { action: 'create', headSha, reason: `${name} into ${event.baseRef}` }
    : { action: 'update', headSha, reason: `${name} has new commits` }
}

function whyUnwanted(event: PullRequestEvent, rules: PreviewRules): string | null {
  if (rules.template === null) return 'has no preview: previews are off'
  if (rules.baseBranch !== null && event.baseRef !== rules.baseBranch) return `goes into ${event.baseRef}, not ${rules.baseBranch}`
  if (rules.label !== null && !event.labels.includes(rules.label)) return `does not carry the label ${rules.label}`
  if (event.isDraft && !rules.drafts) return 'is a draft'
  if (event.isFork && rules.forks === 'never') return 'comes from a fork, which gets no preview here'
  return null
}

function removeOr({ preview }: PreviewState, reason: string): PreviewDecision {
  return { action: preview === null ? 'none' : 'remove', reason }
}

/** A variable of the template, of the environment itself or a wider scope. */
export interface TemplateVariable {
  readonly name: string
  readonly isSecret: boolean
  /** Marked as meant for previews by whoever set it. */
  readonly isForPreviews: boolean
  /** True when the plain value holds what is a secret in fact; see `holdsCredentials`. */
  readonly holdsCredentials: boolean
}

/**
 * Which variables a preview gets. Secrets of the template stay with it, and so do plain values that hold a password, unless they are marked
 * for previews: code under review is run with them. `withheld` is for the message about a reference that then does not resolve.
 */
export function previewVariables<Variable extends TemplateVariable>(
  variables: readonly Variable[],
): { readonly inherited: readonly Variable[]; readonly withheld: readonly Variable[] } {
  const isInherited = (variable: Variable) => variable.isForPreviews || !(variable.isSecret || variable.holdsCredentials)
  return { inherited: variables.filter(isInherited), withheld: variables.filter((variable) => !isInherited(variable)) }
}

/** True for a value with a URL that carries a password, or a private key: people put these into plain variables. */
export function holdsCredentials(value: string): boolean {
  return (
    /[a-z][a-z0-9+.-]{0,30}:\/\/[^\s/@:]{0,1000}:[^\s/@]{1,1000}@/i.test(value) || /-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----/.test(value)
  )
}
