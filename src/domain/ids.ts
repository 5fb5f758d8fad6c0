/**
 * Branded ids. A prefix tells a reader of a log what an id names; the type tells the compiler.
 * Random parts are made in `core/random-id.ts`; ids that must be found again after a crash are derived here.
 */
type Brand<Name extends string> = string & { readonly __brand: Name }

export type ProjectId = Brand<'ProjectId'>
export type EnvironmentId = Brand<'EnvironmentId'>
export type ServiceId = Brand<'ServiceId'>
/** One service in one environment: what has a host name, a live release and an ordered queue of deployments. */
export type ServiceEnvironmentId = Brand<'ServiceEnvironmentId'>
export type DeploymentId = Brand<'DeploymentId'>
export type ReleaseId = Brand<'ReleaseId'>
export type InstanceId = Brand<'InstanceId'>
export type ServerId = Brand<'ServerId'>
/** A directory of one host that several servers may share, and all that runs from it. */
export type NodeId = Brand<'NodeId'>
/** sha256 of content, as `sha256:<64 hex>`. */
export type Digest = Brand<'Digest'>

export const ID_PREFIXES = {
  ProjectId: 'prj',
  EnvironmentId: 'env',
  ServiceId: 'svc',
  ServiceEnvironmentId: 'sen',
  DeploymentId: 'dep',
  ReleaseId: 'rel',
  ServerId: 'srv',
  NodeId: 'nod',
} as const

/**
 * Instance ids are derived, not drawn: a rerun of a stage after a crash finds what the crash left instead of starting a second copy.
 * `index` counts copies from 0, `attempt` counts replacements of that copy from 0.
 */
export function instanceIdFor(deployment: DeploymentId, index: number, attempt: number): InstanceId {
  return `ins_${deployment.slice('dep_'.length)}_${index}_${attempt}` as InstanceId
}

/** The deployment that an instance was made by, whoever has adopted it since. */
export function makerOf(instance: InstanceId): DeploymentId {
  return `dep_${instance.split('_')[1]}` as DeploymentId
}

/** The release that a deployment makes has an id derived from it, for the same reason. */
export function releaseIdFor(deployment: DeploymentId): ReleaseId {
  return `rel_${deployment.slice('dep_'.length)}` as ReleaseId
}
