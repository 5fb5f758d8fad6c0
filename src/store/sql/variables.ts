import type { Queryable } from '../database.ts'
import { ensureScope } from './catalog.ts'

/** Names of a scope; null = the wider one. */
export interface VariableScope {
  readonly project: string
  readonly environment: string | null
  readonly service: string | null
}

export interface VariableRecord extends VariableScope {
  readonly name: string
  readonly secret: boolean
  readonly forPreviews: boolean
  readonly sealedValue: Uint8Array
  readonly setBy: string | null
  readonly updatedAt: string
}

/** With an environment or service: those of that scope and of every wider one, i.e. what a deployment there would see. */
export async function listVariables(
  db: Queryable,
  filter: { readonly project: string; readonly environment: string | undefined; readonly service: string | undefined },
): Promise<VariableRecord[]> {
  return db.query<VariableRecord>(
    `select v.name, v.secret, v.for_previews as "forPreviews", v.sealed_value as "sealedValue", v.updated_by as "setBy", v.updated_at as "updatedAt", p.name as project, e.name as environment, s.name as service
       from variables v
       join projects p on p.id = v.project_id
       left join environments e on e.id = v.environment_id
       left join services s on s.id = v.service_id
      where p.name = $1
        and ($2::text is null or e.name is null or e.name = $2)
        and ($3::text is null or s.name is null or s.name = $3)
      order by v.name, e.name nulls first, s.name nulls first`,
    [filter.project, filter.environment ?? null, filter.service ?? null],
  )
}

/** Makes the scope as far as it is missing, then sets the variables; in the caller's transaction. */
export async function setVariables(
  tx: Queryable,
  scope: VariableScope,
  variables: readonly {
    readonly name: string
    readonly sealedValue: Uint8Array
    readonly secret: boolean
    readonly forPreviews?: boolean | undefined
  }[],
  setBy: string,
): Promise<void> {
  const ids = await ensureScope(tx, scope)
  for (const variable of variables) {
    await tx.query(
      `insert into variables (project_id, environment_id, service_id, name, sealed_value, secret, updated_by, for_previews)
       values ($1, $2, $3, $4, $5, $6, $7, coalesce($8, false))
       on conflict (project_id, environment_id, service_id, name)
       do update set sealed_value = excluded.sealed_value, secret = excluded.secret, updated_by = excluded.updated_by,
         for_previews = coalesce($8, variables.for_previews), updated_at = now()`,
      [
        ids.projectId,
        ids.environmentId,
        ids.serviceId,
        variable.name,
        variable.sealedValue,
        variable.secret,
        setBy,
        variable.forPreviews ?? null,
      ],
    )
  }
}

/** False when there was none in exactly this scope. */
export async function unsetVariable(tx: Queryable, scope: VariableScope, name: string): Promise<boolean> {
  const rows = await tx.query(
    `delete from variables v using projects p
      where p.id = v.project_id and p.name = $1 and v.name = $4
        and v.environment_id is not distinct from (select e.id from environments e where e.project_id = p.id and e.name = $2)
        and v.service_id is not distinct from (select s.id from services s where s.project_id = p.id and s.name = $3)
        and (v.environment_id is null) = ($2::text is null) and (v.service_id is null) = ($3::text is null)
     returning v.name`,
    [scope.project, scope.environment, scope.service, name],
  )
  return rows.length > 0
}
