import { createHash } from 'node:crypto'
import type { DeploymentId, ProjectId, ReleaseId, ServiceEnvironmentId } from '../../domain/ids.ts'
import { environmentOf } from '../environment-of.ts'
import type { Labels } from '../runtime.ts'

/** On everything that this runtime makes in an engine. `owner` is drawn once per data directory: engines may be shared. */
export const LABEL = {
  owner: 'shiplock.owner',
  /** `instance` or `task`; networks have `network`. */
  kind: 'shiplock.kind',
  id: 'shiplock.id',
  project: 'shiplock.project',
  serviceEnvironment: 'shiplock.service-environment',
  deployment: 'shiplock.deployment',
  release: 'shiplock.release',
  title: 'shiplock.title',
  /** Of the owner that made it. Labels can't be changed: the present fence is in the record beside it. */
  fence: 'shiplock.fence',
  network: 'shiplock.network',
  port: 'shiplock.port',
  /** On networks: `fixed` where its subnet was asked for, so that containers may have addresses of our choice. */
  addresses: 'shiplock.addresses',
  /** Digest of what it was made from: an equal one is started again as it is. */
  spec: 'shiplock.spec',
} as const

export type ContainerKind = 'instance' | 'task'

export function labelsFor(owner: string, kind: ContainerKind, id: string, labels: Labels, fence: number): Record<string, string> {
  return {
    [LABEL.owner]: owner,
    [LABEL.kind]: kind,
    [LABEL.id]: id,
    [LABEL.project]: labels.projectId,
    [LABEL.serviceEnvironment]: labels.serviceEnvironmentId,
    [LABEL.deployment]: labels.deploymentId,
    [LABEL.release]: labels.releaseId,
    [LABEL.title]: labels.title,
    [LABEL.fence]: String(fence),
  }
}

/** The way back; empty ids and `unknown` where a label is missing. */
export function labelsOf(found: Readonly<Record<string, string>>): Labels {
  return {
    projectId: (found[LABEL.project] ?? '') as ProjectId,
    serviceEnvironmentId: (found[LABEL.serviceEnvironment] ?? '') as ServiceEnvironmentId,
    deploymentId: (found[LABEL.deployment] ?? '') as DeploymentId,
    releaseId: (found[LABEL.release] ?? '') as ReleaseId,
    title: found[LABEL.title] ?? 'unknown',
  }
}

/** Deterministic, so that a rerun finds what a crash left. Ids are of letters, digits, `_` and `-` here: legal in container names. */
export function containerName(owner: string, kind: ContainerKind, id: string): string {
  return kind === 'instance' ? `shiplock-${owner}-${id}` : `shiplock-${owner}-task-${id}`
}

/** The network of a project's environment, and the name under which siblings find a service in it. */
export function networkOf(owner: string, labels: Labels): { readonly name: string; readonly alias: string | null } {
  const { key, project, environment, alias } = environmentOf(labels)
  const digest = createHash('sha256').update(key).digest('hex').slice(0, 8)
  const readable = `${project}-${environment}`.replace(/[^A-Za-z0-9_.-]/g, '').slice(0, 60)
  return { name: `shiplock-${owner}-${readable}-${digest}`, alias }
}

/** Value of the `filters` query. */
export function filters(...labels: readonly string[]): string {
  return JSON.stringify({ label: labels })
}
