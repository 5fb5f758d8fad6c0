import type { Instance, Source } from '../../domain/deployment.ts'
import type { Queryable } from '../database.ts'
import { type InstanceRow, toInstance } from '../rows.ts'
import { removingOf } from './catalog.ts'

/** A service in an environment with what is live and what happened last. */
export interface ServiceRecord {
  readonly id: string
  readonly project: string
  readonly environment: string
  readonly service: string
  readonly host: string
  readonly source: Source | null
  readonly hold: { readonly reason: string; readonly since: string; readonly by: string } | null
  readonly removing: { readonly since: string; readonly by: string } | null
  readonly live_deployment_id: string | null
  readonly live_release: number | null
  readonly live_since: string | null
  readonly wanted: number | null
  readonly scaled_to: number | null
  readonly serving: number
  readonly starting: number
  readonly standby: number
  readonly last_id: string | null
  readonly last_kind: 'deploy' | 'rollback' | null
  readonly last_status: string | null
  readonly last_stage: string | null
  readonly last_created_at: string | null
  readonly last_settled: boolean | null
}

export interface ServiceRecordFilter {
  readonly project?: string | undefined
  readonly environment?: string | undefined
  readonly service?: string | undefined
  /** `project/service/environment` after which to continue; null = from the first. */
  readonly after: string | null
  readonly limit: number
}

/** In the order of their names. */
export async function listServiceRecords(db: Queryable, filter: ServiceRecordFilter): Promise<ServiceRecord[]> {
  return db.query<ServiceRecord>(
    `select se.id, p.name as project, e.name as environment, s.name as service, se.host, se.source, se.hold, ${removingOf('se')} as removing,
            se.live_deployment_id, r.number as live_release, live.swapped_at as live_since,
            i.serving, i.starting, i.standby, se.instances as scaled_to,
            coalesce(se.instances, (r.config->'run'->>'instances')::int) as wanted,
            last.id as last_id, last.kind as last_kind, last.status as last_status, last.stage as last_stage,
            last.created_at as last_created_at, last.settled as last_settled
       from service_environments se
       join projects p on p.id = se.project_id
       join environments e on e.id = se.environment_id
       join services s on s.id = se.service_id
       left join deployments live on live.id = se.live_deployment_id
       left join releases r on r.id = coalesce(live.release_id, live.rollback_to)
       left join lateral (select * from deployments d where d.service_environment_id = se.id order by d.position desc limit 1) last on true
       cross join lateral (select count(*) filter (where state = 'serving')::int as serving,
                                  count(*) filter (where state in ('starting', 'ready'))::int as starting,
                                  count(*) filter (where state in ('warm', 'standby'))::int as standby
                             from instances where service_environment_id = se.id and state <> 'removed') i
      where ($1::text is null or p.name = $1) and ($2::text is null or e.name = $2) and ($3::text is null or s.name = $3)
        and ($4::text is null or (p.name || '/' || s.name || '/' || e.name) collate "C" > $4 collate "C")
      order by (p.name || '/' || s.name || '/' || e.name) collate "C" limit $5`,
    [filter.project ?? null, filter.environment ?? null, filter.service ?? null, filter.after, filter.limit],
  )
}

/** Instances that exist, with the number of their release. */
export async function listInstanceRecords(
  db: Queryable,
  serviceEnvironmentId: string,
): Promise<{ readonly instance: Instance; readonly release: number }[]> {
  const rows = await db.query<InstanceRow & { release: number }>(
    `select i.*, r.number as release from instances i join releases r on r.id = i.release_id
      where i.service_environment_id = $1 and i.state <> 'removed' order by r.number desc, i.index, i.id`,
    [serviceEnvironmentId],
  )
  return rows.map((row) => ({ instance: toInstance(row), release: row.release }))
}
