import { join } from 'node:path'
import type { Redactor } from '../core/redact.ts'
import { createRedactorInSlices } from '../core/redact.ts'
import type { Deployment, Instance } from '../domain/deployment.ts'
import type { DeploymentId } from '../domain/ids.ts'
import type { Release } from '../domain/release.ts'
import type { Directories } from '../stages/stage.ts'
import type { Queryable } from '../store/database.ts'
import { getServiceEnvironment, type ServiceEnvironment } from '../store/sql/catalog.ts'
import { findDeployment } from '../store/sql/deployments.ts'
import { listInstances } from '../store/sql/instances.ts'
import type { Lease } from '../store/sql/leases.ts'
import { findRelease } from '../store/sql/releases.ts'
import { readSwapAge } from '../store/sql/swap-age.ts'
import type { EngineDependencies } from './dependencies.ts'
import { secretValues } from './variables.ts'

/** Everything the engine knows of a deployment it works on. Loaded afresh before each step: the database is the only memory. */
export interface Work {
  readonly lease: Lease
  readonly deployment: Deployment
  readonly target: ServiceEnvironment
  readonly release: Release | null
  readonly instances: readonly Instance[]
  readonly others: readonly Instance[]
  readonly sinceSwapMs: number
  readonly loadedAt: number
  readonly redact: Redactor
}

export async function loadWork(dependencies: EngineDependencies, db: Queryable, lease: Lease): Promise<Work> {
  const deployment = await findDeployment(db, lease.deploymentId)
  if (deployment === null) throw new Error(`deployment ${lease.deploymentId} vanished`)
  const [target, instances, release, sinceSwapMs, secrets] = await Promise.all([
    getServiceEnvironment(db, deployment.serviceEnvironmentId),
    listInstances(db, deployment.serviceEnvironmentId),
    deployment.releaseId === null ? null : findRelease(db, deployment.releaseId),
    readSwapAge(db, deployment.id),
    secretValues(dependencies, db, deployment, deployment.releaseId === null ? [] : [deployment.releaseId]),
  ])
  if (target === null) throw new Error(`service environment ${deployment.serviceEnvironmentId} vanished`)
  return {
    lease,
    deployment,
    target,
    release,
    instances: instances.filter((instance) => instance.deploymentId === deployment.id),
    others: instances.filter((instance) => instance.deploymentId !== deployment.id),
    sinceSwapMs,
    loadedAt: dependencies.clock.monotonic(),
    redact: await createRedactorInSlices(secrets),
  }
}

export function directoriesOf(
  dependencies: Pick<EngineDependencies, 'workDirectory'>,
  deployment: Pick<Deployment, 'id' | 'serviceEnvironmentId'>,
): Directories {
  const own = deploymentDirectory(dependencies.workDirectory, deployment.id)
  return {
    workspace: join(own, 'source'),
    scratch: join(own, 'scratch'),
    cache: join(dependencies.workDirectory, 'cache', deployment.serviceEnvironmentId),
  }
}

export function deploymentDirectory(workDirectory: string, id: DeploymentId): string {
  return join(workDirectory, 'deployments', id)
}
