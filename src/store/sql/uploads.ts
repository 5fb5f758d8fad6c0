import type { Queryable } from '../database.ts'
import { ensureProject } from './catalog.ts'

/** Who may name an upload: everybody in the project, or, of a token that is bound to one environment, that environment. */
export interface UploadScope {
  readonly project: string
  readonly environment: string | null
}

/** Says that a scope has an upload; the same one twice is success. */
export async function recordUpload(
  tx: Queryable,
  { project, environment }: UploadScope,
  upload: { readonly digest: string; readonly bytes: number },
): Promise<void> {
  const projectId = await ensureProject(tx, project)
  await tx.query(
    `insert into uploads (project_id, environment_id, digest, bytes)
     select $1, (select id from environments where project_id = $1 and name = $2), $3, $4 on conflict do nothing`,
    [projectId, environment, upload.digest, upload.bytes],
  )
}

/**
 * An upload of another project is not there (I10), nor for an environment's own token what others of the project brought (I14): who knows
 * a digest must not get the code. `environment` null = any of the project.
 */
export async function hasUpload(db: Queryable, { project, environment }: UploadScope, digest: string): Promise<boolean> {
  const rows = await db.query(
    `select 1 from uploads u join projects p on p.id = u.project_id left join environments e on e.id = u.environment_id
      where p.name = $1 and u.digest = $3 and ($2::text is null or e.name = $2) limit 1`,
    [project, environment, digest],
  )
  return rows.length > 0
}

/** Of all uploads of a project that are kept; 0 for a project that does not exist. */
export async function sumUploads(db: Queryable, project: string): Promise<number> {
  const [row] = await db.query<{ bytes: string }>(
    'select coalesce(sum(u.bytes), 0) as bytes from uploads u join projects p on p.id = u.project_id where p.name = $1',
    [project],
  )
  return Number(row?.bytes ?? 0)
}
