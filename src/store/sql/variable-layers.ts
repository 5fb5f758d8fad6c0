import type { Queryable } from '../database.ts'
import type { ServiceEnvironment } from './catalog.ts'

export interface SealedVariable {
  readonly scope: 'project' | 'environment' | 'service'
  readonly name: string
  readonly sealedValue: Uint8Array
  readonly secret: boolean
}

/** Every variable that reaches a service in an environment, sealed. A service's own may be for one environment or for all. */
export async function readVariableLayers(
  db: Queryable,
  target: Pick<ServiceEnvironment, 'projectId' | 'environmentId' | 'serviceId'>,
): Promise<SealedVariable[]> {
  return db.query<SealedVariable>(
    `select case when service_id is not null then 'service' when environment_id is not null then 'environment' else 'project' end as scope,
            name, sealed_value as "sealedValue", secret
       from variables
      where project_id = $1 and (environment_id is null or environment_id = $2) and (service_id is null or service_id = $3)
      order by service_id nulls first, environment_id nulls first, name`,
    [target.projectId, target.environmentId, target.serviceId],
    { name: 'read-variable-layers' },
  )
}
