import type { Trigger } from '../../domain/deployment.ts'
import type { DeploymentId, ReleaseId, ServiceEnvironmentId } from '../../domain/ids.ts'
import type { Release } from '../../domain/release.ts'
import type { Queryable } from '../database.ts'
import { type ReleaseRow, toRelease } from '../rows.ts'

export interface NewRelease {
  readonly id: ReleaseId
  readonly serviceEnvironmentId: ServiceEnvironmentId
  readonly deploymentId: DeploymentId
  readonly revision: Release['revision']
  readonly artifact: Release['artifact']
  readonly config: Release['config']
  readonly buildKey: string | null
  readonly trigger: Trigger
  readonly sealedVariables: Uint8Array
  /** Names of those variables that hold secrets. */
  readonly secretNames: readonly string[]
}

/** The next number of its service and environment. Writing the same release twice gives the first one. */
export async function insertRelease(tx: Queryable, release: NewRelease): Promise<Release> {
  const present = await findRelease(tx, release.id)
  if (present !== null) return present
  const [counter] = await tx.query<{ number: number }>(
    'update service_environments set next_release_number = next_release_number + 1 where id = $1 returning next_release_number - 1 as number',
    [release.serviceEnvironmentId],
  )
  const [row] = await tx.query<ReleaseRow>(
    `insert into releases (id, service_environment_id, number, deployment_id, revision, artifact, config, build_key, trigger, sealed_variables, secret_names)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) returning *`,
    [
      release.id,
      release.serviceEnvironmentId,
      counter?.number,
      release.deploymentId,
      JSON.stringify(release.revision),
      JSON.stringify(release.artifact),
      JSON.stringify(release.config),
      release.buildKey,
      JSON.stringify(release.trigger),
      release.sealedVariables,
      release.secretNames,
    ],
  )
  if (row === undefined) throw new Error('a release was not written')
  return toRelease(row)
}

export async function findRelease(db: Queryable, id: ReleaseId): Promise<Release | null> {
  const [row] = await db.query<ReleaseRow>('select * from releases where id = $1', [id])
  return row === undefined ? null : toRelease(row)
}

export async function readSealedVariables(
  db: Queryable,
  id: ReleaseId,
): Promise<{ readonly sealed: Uint8Array; readonly secretNames: readonly string[] } | null> {
  const [row] = await db.query<{ sealed: Buffer; secretNames: string[] }>(
    'select sealed_variables as sealed, secret_names as "secretNames" from releases where id = $1',
    [id],
  )
  return row ?? null
}

export async function findReleaseByBuildKey(db: Queryable, id: ServiceEnvironmentId, buildKey: string): Promise<Release | null> {
  const [row] = await db.query<ReleaseRow>(
    `select * from releases where service_environment_id = $1 and build_key = $2 and deleted_at is null order by number desc limit 1`,
    [id, buildKey],
  )
  return row === undefined ? null : toRelease(row)
}

/** Kept releases of a service environment, newest first. */
export async function listReleases(db: Queryable, id: ServiceEnvironmentId): Promise<Release[]> {
  const rows = await db.query<ReleaseRow>(
    'select * from releases where service_environment_id = $1 and deleted_at is null order by number desc',
    [id],
  )
  return rows.map(toRelease)
}

/** Releases that must stay whatever retention says: live, its way back, in progress or queued as a target, with an instance, pinned. */
export async function listProtectedReleases(db: Queryable, id: ServiceEnvironmentId): Promise<Set<ReleaseId>> {
  const rows = await db.query<{ id: ReleaseId | null }>(
    `select release_id as id from deployments where service_environment_id = $1 and (not settled or status = 'running')
     union select rollback_to from deployments where service_environment_id = $1 and not settled
     union select d.release_id from deployments d join service_environments se on se.id = d.service_environment_id
            where se.id = $1 and d.id in (se.live_deployment_id, se.previous_deployment_id)
     union select release_id from instances where service_environment_id = $1 and state <> 'removed'
     union select id from releases where service_environment_id = $1 and pinned`,
    [id],
  )
  return new Set(rows.flatMap((row) => (row.id === null ? [] : [row.id])))
}

export async function markReleasesDeleted(tx: Queryable, ids: readonly ReleaseId[]): Promise<void> {
  await tx.query('update releases set deleted_at = now() where id = any($1)', [ids])
}

/** Digests of file trees that some kept release, or some unsettled deployment, still needs. */
export async function listNeededTrees(db: Queryable): Promise<Set<string>> {
  const rows = await db.query<{ digest: string }>(
    `select artifact->>'digest' as digest from releases where deleted_at is null and artifact->>'kind' = 'tree'
     union select facts->'artifact'->>'digest' from deployments where not settled and facts->'artifact'->>'kind' = 'tree'
     union select artifact->'tree'->>'digest' from releases where deleted_at is null and artifact ? 'tree'
     union select facts->'artifact'->'tree'->>'digest' from deployments where not settled and facts->'artifact' ? 'tree'
     union select artifact->'tree'->>'prepareFiles' from releases where deleted_at is null and artifact->'tree' ? 'prepareFiles'
     union select facts->'artifact'->'tree'->>'prepareFiles' from deployments where not settled and facts->'artifact'->'tree' ? 'prepareFiles'
     union select artifact->>'prepareFiles' from releases where deleted_at is null and artifact ? 'prepareFiles'
     union select facts->'artifact'->>'prepareFiles' from deployments where not settled and facts->'artifact' ? 'prepareFiles'`,
  )
  return new Set(rows.map((row) => row.digest))
}

/** Ids of runtime layers that some kept release, or some unsettled deployment, still needs. */
export async function listNeededLayers(db: Queryable): Promise<Set<string>> {
  const rows = await db.query<{ id: string }>(
    `select artifact->>'runtimeLayer' as id from releases where deleted_at is null and artifact ? 'runtimeLayer'
     union select artifact->'tree'->>'runtimeLayer' from releases where deleted_at is null and artifact->'tree' ? 'runtimeLayer'
     union select facts->'artifact'->'tree'->>'runtimeLayer' from deployments where not settled and facts->'artifact'->'tree' ? 'runtimeLayer'
     union select facts->'artifact'->>'runtimeLayer' from deployments where not settled and facts->'artifact' ? 'runtimeLayer'`,
  )
  return new Set(rows.map((row) => row.id))
}

/** Of the file trees that the kept releases of a deployment's project hold, each counted once. */
export async function sumProjectTrees(db: Queryable, deployment: DeploymentId): Promise<number> {
  const [row] = await db.query<{ bytes: string }>(
    `select coalesce(sum(bytes), 0) as bytes from (
       select distinct on (r.artifact->>'digest') (r.artifact->>'bytes')::bigint as bytes
         from releases r join service_environments se on se.id = r.service_environment_id
        where se.project_id = (select project_id from deployments where id = $1)
          and r.deleted_at is null and r.artifact->>'kind' = 'tree') kept`,
    [deployment],
  )
  return Number(row?.bytes ?? 0)
}
