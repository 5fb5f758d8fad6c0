import type { DeploymentId, EnvironmentId, InstanceId, ProjectId, ServiceEnvironmentId, ServiceId } from './ids.ts'

/**
 * What can happen, in the words of the event log, and what each of it says; docs/events.md is printed from this table.
 * `data` holds the facts; `message` is one sentence for people.
 */
export const EVENT_MEANINGS = {
  'deployment.queued': 'It waits for its turn.',
  'deployment.absorbed': 'A newer one of the same branch took its place in the queue.',
  'deployment.started': 'A server took it up.',
  'deployment.resumed': 'A server took it up again after a restart, at the stage that was cut.',
  'deployment.running': 'It serves.',
  'deployment.failed': 'It ended without serving, or was swapped back after its swap.',
  'deployment.canceled': 'It ended because somebody asked for that.',
  'deployment.cancel_requested': 'Somebody asked to cancel it; the end follows.',
  'deployment.superseded': 'A newer deployment serves in its place.',
  'deployment.rolled_back': 'A rollback serves in its place.',
  'deployment.swapped_back': 'It failed after its swap; the previous one serves again.',
  'deployment.settled': 'It serves, has passed its watch, and nothing more will happen by itself.',
  'deployment.warning': 'Something is worth a look; the deployment went on.',
  'stage.started': 'A stage has begun.',
  'stage.finished': 'A stage has done its work.',
  'stage.skipped': 'A stage had nothing to do; the message says why.',
  'stage.failed': 'A stage failed, and the deployment with it.',
  'build.running': 'The build has begun.',
  'build.finished': 'There is an artifact; `skipped` in the data: an earlier one, nothing was built.',
  'build.failed': 'The build failed; the message names the command.',
  'scan.finished': 'It is known what is in the artifact; the data has the counts.',
  'scan.blocked': 'What was found must not go live; the data has the worst of it.',
  'scan.secrets_found': 'Secrets of the project stand in the artifact; the data has the files and the names, never a value.',
  'scan.waiver_expired': 'A waiver named something that was found, and holds no longer.',
  'release.created': 'A numbered release was made of artifact, configuration and variables.',
  'release.active': 'That release serves.',
  'release.deleted': 'Retention let it go.',
  'service.running': 'The service runs on the instances of this deployment.',
  'service.held': 'Automatic deployments wait.',
  'service.hold_released': 'Automatic deployments go on.',
  'environment.frozen': 'Nothing starts there but rollbacks and what overrides the freeze; the message says until when.',
  'environment.unfrozen': 'Somebody ended the freeze before its time.',
  'service.removing': 'It is on its way out of its environment: nothing new is deployed there.',
  'service.removed': 'Nothing of it is left in that environment.',
  'preview.created': 'A pull request has an environment of its own now.',
  'preview.updated': 'Its pull request has new commits.',
  'preview.waiting': 'A pull request of a fork waits until somebody approves its commit.',
  'preview.approved': 'Somebody approved a commit of a fork.',
  'environment.removing': 'It is on its way out with all its services.',
  'environment.removed': 'Nothing of it is left.',
  'service.scaled': 'Another number of instances is wanted, or serves.',
  'instance.started': 'Its start command runs.',
  'instance.ready': 'It passed its readiness check.',
  'instance.replaced': 'It did not become ready; another one is tried.',
  'instance.exited': 'It ended by itself.',
  'instance.disk_limit': 'It was stopped for what it wrote to the disk; the message says how much, and what bounds it.',
  'instance.unhealthy': 'Its health check fails, or a further one did not become ready.',
  'instance.restarted': 'It was started again and serves.',
  'instance.recovered': 'It passes its health check again and serves.',
  'instance.stopped': 'It was told to stop and did.',
  'instance.removed': 'What was kept of it is gone.',
  'garbage.collected': 'Images, build cache or networks that nobody needs went; the data holds how many bytes.',
  'orphan.removed': 'Something without a record was found and removed.',
} as const
export type EventType = keyof typeof EVENT_MEANINGS
export const EVENT_TYPES = Object.keys(EVENT_MEANINGS) as readonly EventType[]

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
