import type { Queryable } from '../../src/store/database.ts'
import type { SaidTrigger } from '../../src/store/sql/deploy-rules.ts'

/** Ids of deployments that are there only for what their configuration says begin so. */
export const SAID = 'said_'
let said = 0

/** As if a deployment that failed after its fetch had read this; rules come from it while nothing is live. Id of the service environment. */
export async function sayRules(db: Queryable, id: string, trigger: SaidTrigger): Promise<void> {
  await db.query(
    `insert into deployments (id, project_id, environment_id, service_id, service_environment_id, kind, source, trigger, options, facts,
                              status, settled, settled_at)
     select $2, project_id, environment_id, service_id, id, 'deploy', '{"kind": "upload"}', '{"kind": "api"}', '{}', $3, 'failed', true, now()
       from service_environments where id = $1`,
    [id, `${SAID}${++said}_${id}`, JSON.stringify({ revision: null, config: { trigger } })],
  )
}
