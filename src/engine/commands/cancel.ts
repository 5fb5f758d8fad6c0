import type { Deployment } from '../../domain/deployment.ts'
import type { DeploymentId } from '../../domain/ids.ts'
import type { Queryable } from '../../store/database.ts'
import { requestCancel } from '../../store/sql/deployments.ts'

/** At once while it waits; before the swap by the worker that has it; from the swap on refused. @throws NOT_FOUND, CANCEL_REFUSED */
export function cancel(tx: Queryable, id: DeploymentId, actor: string): Promise<Deployment> {
  return requestCancel(tx, id, actor)
}
