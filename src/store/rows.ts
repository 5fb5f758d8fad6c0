import type {
  Deployment,
  DeploymentError,
  DeploymentFacts,
  DeploymentKind,
  DeploymentOptions,
  Instance,
  Source,
  Trigger,
  Verdict,
} from '../domain/deployment.ts'
import type { DeploymentStatus, StageName } from '../domain/deployment-machine.ts'
import type { Event, EventType } from '../domain/event.ts'
import type {
  DeploymentId,
  EnvironmentId,
  InstanceId,
  ProjectId,
  ReleaseId,
  ServerId,
  ServiceEnvironmentId,
  ServiceId,
} from '../domain/ids.ts'
import type { InstanceState } from '../domain/instance-machine.ts'
import type { Release } from '../domain/release.ts'

/** Rows as PostgreSQL gives them, and the one place where they become domain objects. */
export interface DeploymentRow {
  id: DeploymentId
  project_id: ProjectId
  environment_id: EnvironmentId
  service_id: ServiceId
  service_environment_id: ServiceEnvironmentId
  kind: DeploymentKind
  source: Source | null
  trigger: Trigger
  options: DeploymentOptions
  status: DeploymentStatus
  stage: StageName | null
  status_reason: string
  error: DeploymentError | null
  verdict: Verdict | null
  settled: boolean
  release_id: ReleaseId | null
  rollback_to: ReleaseId | null
  replaced_by: DeploymentId | null
  facts: DeploymentFacts
  cancel_requested_at: string | null
  created_at: string
  started_at: string | null
  settled_at: string | null
}

export function toDeployment(row: DeploymentRow): Deployment {
  return {
    id: row.id,
    projectId: row.project_id,
    environmentId: row.environment_id,
    serviceId: row.service_id,
    serviceEnvironmentId: row.service_environment_id,
    kind: row.kind,
    source: row.source,
    trigger: row.trigger,
    options: row.options,
    status: row.status,
    stage: row.stage,
    statusReason: row.status_reason,
    error: row.error,
    verdict: row.verdict,
    settled: row.settled,
    releaseId: row.release_id,
    rollbackTo: row.rollback_to,
    replacedBy: row.replaced_by,
    cancelRequested: row.cancel_requested_at !== null,
    facts: row.facts,
    createdAt: row.created_at,
    startedAt: row.started_at,
    settledAt: row.settled_at,
  }
}

export interface InstanceRow {
  id: InstanceId
  deployment_id: DeploymentId
  release_id: ReleaseId
  service_environment_id: ServiceEnvironmentId
  server_id: ServerId
  index: number
  state: InstanceState
  host: string | null
  port: number | null
  restarts: number
  standby_until: string | null
}

export function toInstance(row: InstanceRow): Instance {
  return {
    id: row.id,
    deploymentId: row.deployment_id,
    releaseId: row.release_id,
    serviceEnvironmentId: row.service_environment_id,
    serverId: row.server_id,
    index: row.index,
    state: row.state,
    address: row.host === null || row.port === null ? null : { host: row.host, port: row.port },
    restarts: row.restarts,
    standbyUntil: row.standby_until,
  }
}

export interface ReleaseRow {
  id: ReleaseId
  service_environment_id: ServiceEnvironmentId
  number: number
  deployment_id: DeploymentId
  revision: Release['revision']
  artifact: Release['artifact']
  config: Release['config']
  build_key: string | null
  trigger: Trigger
  pinned: boolean
  first_live_at: string | null
  created_at: string
}

export function toRelease(row: ReleaseRow): Release {
  return {
    id: row.id,
    serviceEnvironmentId: row.service_environment_id,
    number: row.number,
    deploymentId: row.deployment_id,
    revision: row.revision,
    artifact: row.artifact,
    config: row.config,
    buildKey: row.build_key,
    trigger: row.trigger,
    pinned: row.pinned,
    firstLiveAt: row.first_live_at,
    createdAt: row.created_at,
  }
}

export interface EventRow {
  sequence: number
  at: string
  type: EventType
  message: string
  project_id: ProjectId | null
  environment_id: EnvironmentId | null
  service_id: ServiceId | null
  service_environment_id: ServiceEnvironmentId | null
  deployment_id: DeploymentId | null
  instance_id: InstanceId | null
  data: Readonly<Record<string, unknown>>
  terminal: boolean
}

export function toEvent(row: EventRow): Event {
  return {
    sequence: row.sequence,
    at: row.at,
    type: row.type,
    message: row.message,
    projectId: row.project_id,
    environmentId: row.environment_id,
    serviceId: row.service_id,
    serviceEnvironmentId: row.service_environment_id,
    deploymentId: row.deployment_id,
    instanceId: row.instance_id,
    data: row.data,
    terminal: row.terminal,
  }
}
