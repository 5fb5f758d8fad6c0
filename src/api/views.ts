import type { Deployment as DeploymentView } from '../contract/deployment.ts'
import type { Event as EventView } from '../contract/event.ts'
import type { Release as ReleaseView } from '../contract/release.ts'
import type { Instance as InstanceView, Service as ServiceView } from '../contract/service.ts'
import type { Instance, ScanVerdict } from '../domain/deployment.ts'
import type { ServiceEnvironment } from '../store/sql/catalog.ts'
import type { DeploymentRecord, StageRecord } from '../store/sql/deployment-view.ts'
import type { EventRecord } from '../store/sql/event-view.ts'
import type { ReleaseRecord } from '../store/sql/release-view.ts'
import type { ServiceRecord } from '../store/sql/service-view.ts'

/** What the store knows, as the contract shows it. The contract's types are mutable; what is given out is not changed afterwards. */
export function viewDeployment(record: DeploymentRecord, urlOf: (host: string) => string): DeploymentView {
  const { deployment } = record
  const { facts, error } = deployment
  return {
    id: deployment.id,
    project: record.project,
    environment: record.environment,
    service: record.service,
    kind: deployment.kind,
    status: deployment.status,
    stage: deployment.stage,
    statusReason: deployment.statusReason,
    error: error === null ? null : { ...error, logTail: [...error.logTail], attempts: error.attempts.map((attempt) => ({ ...attempt })) },
    settled: deployment.settled,
    cancelRequested: deployment.cancelRequested,
    replacedBy: deployment.replacedBy,
    release: record.release,
    revision: facts.revision,
    source: deployment.source,
    trigger: deployment.trigger,
    detected: facts.configOrigin,
    scan: facts.scan === null ? null : viewVerdict(facts.scan),
    warnings: [...facts.warnings],
    receipt: facts.receipt,
    bakeMs: facts.config?.deploy.bakeMs ?? null,
    instances: facts.config?.run.instances ?? null,
    url: urlOf(record.host),
    stages: record.stages.map(viewStage),
    createdAt: deployment.createdAt,
    startedAt: deployment.startedAt,
    settledAt: deployment.settledAt,
  }
}

function viewVerdict({ outcome, note, critical, high, medium, low }: ScanVerdict): NonNullable<DeploymentView['scan']> {
  return { outcome, note, critical, high, medium, low }
}

function viewStage(run: StageRecord): DeploymentView['stages'][number] {
  return { ...run, tookMs: run.finishedAt === null ? null : Math.max(0, Date.parse(run.finishedAt) - Date.parse(run.startedAt)) }
}

export function viewRelease(record: ReleaseRecord, target: ServiceEnvironment): ReleaseView {
  const { release } = record
  return {
    id: release.id,
    number: release.number,
    service: target.service,
    environment: target.environment,
    project: target.project,
    deploymentId: release.deploymentId,
    revision: release.revision,
    artifact: {
      kind: release.artifact.kind,
      digest: release.artifact.digest,
      bytes: release.artifact.kind === 'tree' ? release.artifact.bytes : null,
    },
    trigger: release.trigger,
    scan: record.scan,
    live: record.isLive,
    pinned: release.pinned,
    kept: record.isKept,
    standby: record.hasStandby,
    lastStatus: record.lastStatus,
    firstLiveAt: release.firstLiveAt,
    createdAt: release.createdAt,
  }
}

export function viewService(record: ServiceRecord, urlOf: (host: string) => string): ServiceView {
  return {
    id: record.id,
    project: record.project,
    environment: record.environment,
    service: record.service,
    host: record.host,
    url: urlOf(record.host),
    source: record.source,
    live:
      record.live_deployment_id === null
        ? null
        : { release: record.live_release, deploymentId: record.live_deployment_id, since: record.live_since },
    hold: record.hold,
    removing: record.removing,
    instances: {
      serving: record.serving,
      starting: record.starting,
      standby: record.standby,
      wanted: record.wanted,
      scaledTo: record.scaled_to,
    },
    lastDeployment: viewLast(record),
  }
}

function viewLast(record: ServiceRecord): ServiceView['lastDeployment'] {
  const { last_id, last_kind, last_status, last_stage, last_created_at, last_settled } = record
  if (last_id === null || last_kind === null || last_status === null || last_created_at === null || last_settled === null) return null
  return { id: last_id, kind: last_kind, status: last_status, stage: last_stage, createdAt: last_created_at, settled: last_settled }
}

export function viewInstance(record: { readonly instance: Instance; readonly release: number }): InstanceView {
  const { instance } = record
  return {
    id: instance.id,
    index: instance.index,
    state: instance.state,
    release: record.release,
    deploymentId: instance.deploymentId,
    address: instance.address === null ? null : `${instance.address.host}:${instance.address.port}`,
    restarts: instance.restarts,
    standbyUntil: instance.standbyUntil,
  }
}

export function viewEvent(record: EventRecord): EventView {
  const { event } = record
  return {
    sequence: event.sequence,
    at: event.at,
    type: event.type,
    message: event.message,
    project: record.project,
    environment: record.environment,
    service: record.service,
    deploymentId: event.deploymentId,
    instanceId: event.instanceId,
    data: { ...event.data },
    terminal: event.terminal,
  }
}
