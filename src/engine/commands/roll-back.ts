import type { Deployment, DeploymentOptions, Trigger } from '../../domain/deployment.ts'
import type { ServiceEnvironmentId } from '../../domain/ids.ts'
import type { Queryable } from '../../store/database.ts'
import { lockServiceEnvironment } from '../../store/sql/catalog.ts'
import { enqueueDeployment } from '../../store/sql/deployments.ts'
import { holdService } from '../../store/sql/holds.ts'
import { listKeptReleases } from '../../store/sql/release-view.ts'
import { chooseRollbackTarget, type RollbackWish } from './rollback-target.ts'

export interface RollbackRequest extends RollbackWish {
  readonly actor: string
  readonly trigger: Omit<Trigger, 'actor'>
  /** The release's own as they were sealed with it, or those of today. */
  readonly variables: DeploymentOptions['variables']
}

/** Queues the way back, and holds what comes by itself until somebody deploys by hand. @throws ROLLBACK_UNAVAILABLE, CONFLICT */
export async function rollBack(tx: Queryable, id: ServiceEnvironmentId, request: RollbackRequest): Promise<Deployment> {
  const target = await lockServiceEnvironment(tx, id)
  const { release } = chooseRollbackTarget(await listKeptReleases(tx, target.id), request)
  const deployment = await enqueueDeployment(tx, target, {
    kind: 'rollback',
    source: null,
    rollbackTo: release.id,
    trigger: { ...request.trigger, actor: request.actor },
    options: { rebuild: false, autoRollback: null, variables: request.variables, configPath: null, rootDirectory: null },
  })
  await holdService(tx, target, `rolled back to v${release.number}`, request.actor)
  return deployment
}
