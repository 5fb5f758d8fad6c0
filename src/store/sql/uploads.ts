import type { Queryable } from '../database.ts'
import { ensureProject } from './catalog.ts'

/** Says that a project has an upload; the same one twice is success. */
export async function recordUpload(
  tx: Queryable,
  project: string,
  upload: { readonly digest: string; readonly bytes: number },
): Promise<void> {
  const projectId = await ensureProject(tx, project)
  await tx.query('insert into uploads (project_id, digest, bytes) values ($1, $2, $3) on conflict do nothing', [
    projectId,
    upload.digest,
    upload.bytes,
  ])
}

/** An upload of another project is not there (I10). */
export async function hasUpload(db: Queryable, project: string, digest: string): Promise<boolean> {
  const rows = await db.query('select 1 from uploads u join projects p on p.id = u.project_id where p.name = $1 and u.digest = $2', [
    project,
    digest,
  ])
  return rows.length > 0
}
