import type { ServiceId } from '../../domain/ids.ts'
import type { TriggerConfig } from '../../domain/service-config.ts'
import type { Queryable } from '../database.ts'

/** Keeps what the configuration that was read last says about triggers: a webhook can't wait for a clone to know it. */
export async function saveTriggerConfig(tx: Queryable, serviceId: ServiceId, trigger: TriggerConfig): Promise<void> {
  const { queue, ...rules } = trigger
  await tx.query(
    `update services set trigger_rules = $2, queue_policy = $3
      where id = $1 and (trigger_rules is distinct from $2::jsonb or queue_policy <> $3)`,
    [serviceId, JSON.stringify(rules), queue],
    { name: 'save-trigger-config' },
  )
}
