import type { ServiceEnvironmentId } from '../../domain/ids.ts'
import type { QueuePolicy } from '../../domain/queue-rules.ts'
import { rulesOf, type SaidRules, type TriggerRules } from '../../domain/trigger-decision.ts'
import type { Queryable } from '../database.ts'

export type SaidTrigger = SaidRules & { readonly queue?: QueuePolicy }

/**
 * What deploys next in a service environment, as what is live there says (the view `deploy_rules`): no other environment, and no
 * deployment that does not serve, has a say in it (I14).
 */
export interface DeployRules {
  readonly trigger: SaidTrigger
  readonly queue: QueuePolicy
  /** Where configuration and service are found in the source: a push deploys the same. */
  readonly configPath: string | null
  readonly rootDirectory: string | null
}

export async function readDeployRules(db: Queryable, id: ServiceEnvironmentId): Promise<DeployRules> {
  const [row] = await db.query<Omit<DeployRules, 'queue'>>(
    `select trigger, options->>'configPath' as "configPath", options->>'rootDirectory' as "rootDirectory"
       from deploy_rules where service_environment_id = $1`,
    [id],
    { name: 'read-deploy-rules' },
  )
  const { trigger, configPath, rootDirectory } = row ?? { trigger: {}, configPath: null, rootDirectory: null }
  return { trigger, queue: trigger.queue ?? 'every', configPath, rootDirectory }
}

/** Which pushes deploy there, for people; null of a preview, which follows its pull request. */
export async function readPushRules(db: Queryable, id: string): Promise<(TriggerRules & { readonly queue: QueuePolicy }) | null> {
  const [row] = await db.query<{ branch: string | null; trigger: SaidTrigger }>(
    `select e.branch, r.trigger from deploy_rules r join service_environments se on se.id = r.service_environment_id
       join environments e on e.id = se.environment_id where se.id = $1 and not e.is_preview`,
    [id],
  )
  return row === undefined ? null : { ...rulesOf({ branch: row.branch, rules: row.trigger }), queue: row.trigger.queue ?? 'every' }
}
