import type { Source } from '../../domain/deployment.ts'
import type { ProjectId, ServiceId } from '../../domain/ids.ts'
import type { PushEvent } from '../../domain/push.ts'
import type { TriggerMatch, TriggerRules } from '../../domain/trigger-decision.ts'
import type { RemoteHeads } from '../../sources/source.ts'
import type { EngineDependencies } from '../dependencies.ts'

/** What deciding about pushes needs of the rest of the server. */
export interface TriggerDependencies extends Pick<EngineDependencies, 'database' | 'clock' | 'logger'> {
  /** Bounded and lets others work meanwhile; still too long for a transaction. @throws WORK_TOO_LARGE, CONFIG_INVALID */
  matchTrigger(rules: TriggerRules, event: PushEvent, signal: AbortSignal): Promise<TriggerMatch>
  /** Throws SOURCE_REFUSED for what could never be fetched. */
  validateSource(source: Source): void
  /** Asks the repository; with the credentials with which it is fetched. */
  readHeads(
    repository: { readonly url: string; readonly projectId: ProjectId; readonly serviceId: ServiceId },
    branches: readonly string[],
    signal: AbortSignal,
  ): Promise<RemoteHeads>
  /** Host name of a service of a preview. */
  previewHost(names: { readonly service: string; readonly project: string; readonly number: number }): string
  /** Pause between two looks at the heads of one repository; 0 = none are taken. */
  readonly headCheckMs: number
}
