import type { DeploymentKind, DeploymentOptions, Source, Trigger } from './deployment.ts'
import type { DeploymentId } from './ids.ts'

export type QueuePolicy = 'every' | 'latest'

/** What the rules look at of a deployment that waits or is about to. */
export interface Queued {
  readonly id: DeploymentId
  readonly kind: DeploymentKind
  readonly source: Source | null
  readonly trigger: Trigger
  readonly options: Pick<DeploymentOptions, 'overrideFreeze'>
}

export interface Absorption {
  readonly id: DeploymentId
  /** One sentence, without the name of the absorber. */
  readonly reason: string
}

/** Nobody in person asked for it: a hold keeps it back, and a newer one may take its place. Also in the claim's SQL. */
export const AUTOMATIC_TRIGGERS = ['webhook', 'schedule'] as const satisfies readonly Trigger['kind'][]

export function isAutomatic({ kind }: Trigger): boolean {
  return (AUTOMATIC_TRIGGERS as readonly string[]).includes(kind)
}

/**
 * Which of those that wait for the same service and environment, older first, a newcomer takes the place of:
 * - with the policy `latest`, automatic ones of the branch that the newcomer deploys as well;
 * - with an overridden freeze, every one that the freeze keeps back: started after it, their older code would replace the newer.
 * Never a rollback, never what overrides a freeze itself; what a person asked for only in the second case.
 */
export function absorbedBy(newcomer: Queued, waiting: readonly Queued[], policy: QueuePolicy): readonly Absorption[] {
  if (newcomer.kind !== 'deploy') return []
  return waiting.flatMap(({ id, ...older }) => {
    if (older.kind !== 'deploy' || overrides(older)) return []
    if (overrides(newcomer)) return [{ id, reason: 'a newer deployment did not wait for the end of the freeze' }]
    const branch = branchOf(older)
    const isOlderPush = policy === 'latest' && isAutomatic(older.trigger) && branch !== null && branch === branchOf(newcomer)
    return isOlderPush ? [{ id, reason: `a newer push to ${nameOf(older)} came while it waited` }] : []
  })
}

function overrides({ options }: Pick<Queued, 'options'>): boolean {
  return (options.overrideFreeze ?? null) !== null
}

/** Repository and ref; null when it is not known to be a branch or tag. */
function branchOf({ source, trigger }: Pick<Queued, 'source' | 'trigger'>): string | null {
  if (source?.kind !== 'git') return null
  const ref = trigger.push?.ref ?? source.ref
  return ref === null ? null : `${source.url} ${ref.replace(/^refs\/heads\//, '')}`
}

function nameOf({ source, trigger }: Pick<Queued, 'source' | 'trigger'>): string {
  const ref = trigger.push?.ref ?? (source?.kind === 'git' ? source.ref : null)
  return ref?.replace(/^refs\/(heads|tags)\//, '') ?? 'the same branch'
}
