import { createHash } from 'node:crypto'
import type { DeploymentError, DeploymentFacts, Verdict } from '../../domain/deployment.ts'
import type { DeploymentStatus, StageName } from '../../domain/deployment-machine.ts'
import type { DeploymentId, ReleaseId } from '../../domain/ids.ts'
import type { Queryable } from '../database.ts'
import type { Lease } from './leases.ts'

export interface DeploymentChange {
  readonly status?: DeploymentStatus
  readonly stage?: StageName | null
  readonly statusReason?: string
  readonly facts?: DeploymentFacts
  readonly releaseId?: ReleaseId
  readonly verdict?: Verdict
  readonly error?: DeploymentError | null
  readonly settled?: boolean
  /** Gives the slot back. */
  readonly isSlotFree?: boolean
}

/** Changes what is named, keeps the rest. True when a cancel was asked for. */
export async function updateDeployment(tx: Queryable, id: DeploymentId, change: DeploymentChange): Promise<boolean> {
  const params: unknown[] = [id]
  const assignments: string[] = []
  const set = (column: string, value: unknown) => {
    params.push(value)
    assignments.push(`${column} = $${params.length}`)
  }
  if (change.status !== undefined) set('status', change.status)
  if (change.stage !== undefined) set('stage', change.stage)
  if (change.statusReason !== undefined) set('status_reason', change.statusReason)
  if (change.facts !== undefined) set('facts', JSON.stringify(change.facts))
  if (change.releaseId !== undefined) set('release_id', change.releaseId)
  if (change.verdict !== undefined) set('verdict', change.verdict)
  if (change.error !== undefined) set('error', change.error === null ? null : JSON.stringify(change.error))
  if (change.settled === true) assignments.push('settled = true', 'settled_at = now()')
  if (change.isSlotFree === true) assignments.push('slot = null')
  const text = `update deployments set ${assignments.join(', ')} where id = $1 returning cancel_requested_at is not null as canceled`
  // Few combinations ever occur; each is prepared once.
  const name = `update-deployment-${createHash('sha256').update(text).digest('hex').slice(0, 16)}`
  const [row] = await tx.query<{ canceled: boolean }>(text, params, { name })
  if (row === undefined) throw new Error(`deployment ${id} vanished`)
  return row.canceled
}

export async function openStageRun(tx: Queryable, lease: Lease, stage: StageName): Promise<void> {
  await tx.query(
    `insert into stage_runs (deployment_id, stage, run, fence, started_at)
     select $1, $2, coalesce(max(run), 0) + 1, $3, clock_timestamp() from stage_runs where deployment_id = $1 and stage = $2`,
    [lease.deploymentId, stage, lease.fence],
    { name: 'open-stage-run' },
  )
}

/** Ends the newest run of the stage. */
export async function closeStageRun(
  tx: Queryable,
  lease: Lease,
  stage: StageName,
  outcome: 'done' | 'skipped' | 'failed' | 'canceled',
  reason: string,
): Promise<void> {
  await tx.query(
    `update stage_runs set outcome = $3, reason = $4, finished_at = clock_timestamp()
      where deployment_id = $1 and stage = $2 and finished_at is null
        and run = (select max(run) from stage_runs where deployment_id = $1 and stage = $2)`,
    [lease.deploymentId, stage, outcome, reason],
    { name: 'close-stage-run' },
  )
}

/** Takes a verdict back that can't be carried out: a failed bake with nothing to go back to. */
export async function clearVerdict(tx: Queryable, id: DeploymentId): Promise<void> {
  await tx.query(`update deployments set verdict = null, error = null where id = $1 and status = 'running'`, [id])
}
