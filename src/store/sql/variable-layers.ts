import type { Queryable } from '../database.ts'
import type { ServiceEnvironment } from './catalog.ts'

export interface SealedVariable {
  readonly scope: 'project' | 'environment' | 'service'
  readonly name: string
  readonly sealedValue: Uint8Array
  readonly secret: boolean
  readonly forPreviews: boolean
  /** Of a preview: set there. What a preview takes from elsewhere is not its own. */
  readonly isOwn: boolean
}

/**
 * Every variable that reaches a service in an environment, sealed, the narrower after the wider. A service's own may be for one environment
 * or for all. To a preview those of its template come too; which of them it may have is said by `previewVariables`.
 */
export async function readVariableLayers(
  db: Queryable,
  target: Pick<ServiceEnvironment, 'projectId' | 'environmentId' | 'serviceId'>,
): Promise<SealedVariable[]> {
  return db.query<SealedVariable>(
    `select case when service_id is not null then 'service' when environment_id is not null then 'environment' else 'project' end as scope,
            v.name, sealed_value as "sealedValue", secret, for_previews as "forPreviews",
            not e.is_preview or coalesce(environment_id = e.id, false) as "isOwn"
       from variables v join environments e on e.id = $2
      where v.project_id = $1 and (environment_id is null or environment_id = e.id or environment_id = e.template_id)
        and (service_id is null or service_id = $3)
      order by service_id nulls first, environment_id is not null, environment_id = e.id, v.name`,
    [target.projectId, target.environmentId, target.serviceId],
    { name: 'read-variable-layers' },
  )
}
