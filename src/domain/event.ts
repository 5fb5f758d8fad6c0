import type { DeploymentId, EnvironmentId, InstanceId, ProjectId, ServiceEnvironmentId, ServiceId } from './ids.ts'

/** What can happen, in the words of the event log. `data` holds the facts; `message` is one sentence for people. */
export const EVENT_TYPES = [
  'deployment.queued',
  'deployment.absorbed',
  'deployment.started',
  'deployment.resumed',
  'deployment.running',
  'deployment.failed',
  'deployment.canceled',
  'deployment.cancel_requested',
  'deployment.superseded',
  'deployment.rolled_back',
  'deployment.swapped_back',
  'deployment.settled',
  'deployment.warning',
  'stage.started',
  'stage.finished',
  'stage.skipped',
  'stage.failed',
  'release.created',
  'release.active',
  'release.deleted',
  'service.running',
  'service.held',
  'service.hold_released',
  'service.scaled',
  'instance.started',
  'instance.ready',
  'instance.replaced',
  'instance.exited',
  'instance.unhealthy',
  'instance.restarted',
  'instance.recovered',
  'instance.stopped',
  'instance.removed',
  'orphan.removed',
  'server.started',
  'server.stopped',
] as const
export type EventType = (typeof EVENT_TYPES)[number]

/** Before it has its place in the log. */
export interface NewEvent {
  readonly type: EventType
  readonly message: string
  readonly projectId: ProjectId | null
  readonly environmentId: EnvironmentId | null
  readonly serviceId: ServiceId | null
  readonly serviceEnvironmentId: ServiceEnvironmentId | null
  readonly deploymentId: DeploymentId | null
  readonly instanceId: InstanceId | null
  readonly data: Readonly<Record<string, unknown>>
}

/** In the log. Sequence order is commit order, so a reader that continues after `sequence` misses nothing (I11). */
export interface Event extends NewEvent {
  readonly sequence: number
  readonly at: string
  /** True on the last event that this deployment will ever have by itself. */
  readonly terminal: boolean
}
