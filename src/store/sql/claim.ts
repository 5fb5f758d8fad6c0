import { AUTOMATIC_TRIGGERS } from '../../domain/queue-rules.ts'
import type { Queryable } from '../database.ts'
import type { DeploymentRow } from '../rows.ts'

/**
 * Claims are serialised, so that first come is first served; the unique indexes of `deployments` are what makes the cap true (I4).
 * A row that is just being canceled is waited for, not skipped: what comes after it must not overtake it if that cancel is taken back.
 */
export const CLAIM_LOCK = 7302

export interface ClaimOptions {
  /** MAX_CONCURRENT_BUILDS of this server. */
  readonly slots: number
  /** BUILD_TIMEOUT. */
  readonly timeoutMs: number
}

/**
 * Moves the next pending deployment that nothing keeps back into a free slot: of the projects with the fewest in progress the oldest, so that
 * nobody's long queue stands before everybody else's (I13). Null when there is no work or no slot. Kept back is what
 * its service and environment, its project's limit, a freeze or a hold does not let start (docs/queue.md); `queue-view.ts` says the same
 * in words. A rollback begins at launch, everything else at fetch.
 */
export async function claimDeployment(tx: Queryable, options: ClaimOptions): Promise<DeploymentRow | null> {
  // Two statements, so that the second sees what was committed while the first waited; sent together.
  const locked = tx.query('select pg_advisory_xact_lock($1)', [CLAIM_LOCK], { name: 'claim-lock' })
  const claimed = tx.query<DeploymentRow>(
    `with busy as materialized (select service_environment_id, project_id, slot from deployments where slot is not null),
          free as (select min(n) as slot from generate_series(1, $1::int) n where n not in (select slot from busy)),
          frozen as (select e.id from freezes f join environments e on e.project_id = f.project_id and (f.environment_id is null or f.environment_id = e.id)
                      where f.lifted_at is null and (f.until is null or f.until > now())),
          full_projects as (select b.project_id from busy b join projects p on p.id = b.project_id
                      group by b.project_id, p.limits having count(*) >= (p.limits->>'concurrentBuilds')::int),
          next as (select id from deployments
                    where status = 'pending' and (select slot from free) is not null
                      and service_environment_id <> all (array(select service_environment_id from busy))
                      and project_id <> all (array(select project_id from full_projects))
                      and not (environment_id = any (array(select id from frozen)) and kind = 'deploy' and options->>'overrideFreeze' is null)
                      and not (service_environment_id = any (array(select id from service_environments where hold is not null))
                               and trigger->>'kind' = any ($3))
                    order by (select count(*) from busy where busy.project_id = deployments.project_id), position limit 1 for update)
     update deployments d
        set slot = free.slot, started_at = now(), deadline_at = now() + make_interval(secs => $2),
            status = case d.kind when 'rollback' then 'deploying' else 'cloning' end,
            stage = case d.kind when 'rollback' then 'launch' else 'fetch' end,
            status_reason = ''
       from next, free
      where d.id = next.id
     returning d.*`,
    [options.slots, options.timeoutMs / 1000, AUTOMATIC_TRIGGERS],
  )
  const [, rows] = await Promise.all([locked, claimed])
  return rows[0] ?? null
}
