import { randomId } from '../../core/random-id.ts'
import type { Source } from '../../domain/deployment.ts'
import type { ProjectId, ServiceId } from '../../domain/ids.ts'
import type { Queryable } from '../database.ts'

export interface DeployKeyRecord {
  readonly project: string
  readonly service: string
  readonly publicKey: string
  readonly fingerprint: string
  readonly sealedPrivateKey: Uint8Array
  /** Lines of a known_hosts file; '' = nothing is pinned. */
  readonly knownHosts: string
  readonly createdAt: string
  /** What the service's webhooks fetch from: named by who may `manage`. */
  readonly repositories: readonly Source[]
  /** Of the service in every environment but previews. */
  readonly sources: readonly Source[]
}

export interface GitTokenRecord {
  readonly project: string
  readonly host: string
  readonly username: string
  readonly sealedToken: Uint8Array
  readonly setBy: string | null
  readonly updatedAt: string
}

const DEPLOY_KEY = `select p.name as project, s.name as service, k.public_key as "publicKey", k.fingerprint,
  k.sealed_private_key as "sealedPrivateKey", coalesce(k.known_hosts, '') as "knownHosts", k.created_at as "createdAt",
  (select coalesce(jsonb_agg(jsonb_build_object('kind', 'git', 'url', w.repository, 'ref', null)), '[]')
     from webhooks w where w.service_id = s.id and w.repository <> '') as repositories,
  (select coalesce(jsonb_agg(se.source), '[]') from service_environments se join environments e on e.id = se.environment_id
    where se.service_id = s.id and se.source is not null and not e.is_preview) as sources
  from deploy_keys k join services s on s.id = k.service_id join projects p on p.id = k.project_id`
const GIT_TOKEN = `select p.name as project, t.host, t.username, t.sealed_token as "sealedToken", t.created_by as "setBy", t.updated_at as "updatedAt"
  from git_tokens t join projects p on p.id = t.project_id`

export async function findDeployKey(
  db: Queryable,
  names: { readonly project: string; readonly service: string },
): Promise<DeployKeyRecord | null> {
  const [row] = await db.query<DeployKeyRecord>(`${DEPLOY_KEY} where p.name = $1 and s.name = $2`, [names.project, names.service])
  return row ?? null
}

export async function findDeployKeyOf(db: Queryable, service: ServiceId): Promise<DeployKeyRecord | null> {
  const [row] = await db.query<DeployKeyRecord>(`${DEPLOY_KEY} where k.service_id = $1`, [service])
  return row ?? null
}

/** Replaces the one before; what was pinned for it stays, since the host is the same. */
export async function saveDeployKey(
  tx: Queryable,
  of: { readonly projectId: string; readonly serviceId: string },
  key: { readonly publicKey: string; readonly fingerprint: string; readonly sealedPrivateKey: Uint8Array },
): Promise<void> {
  await tx.query(
    `insert into deploy_keys (id, project_id, service_id, public_key, fingerprint, sealed_private_key) values ($1, $2, $3, $4, $5, $6)
     on conflict (service_id) do update set public_key = excluded.public_key, fingerprint = excluded.fingerprint,
       sealed_private_key = excluded.sealed_private_key, created_at = now()`,
    [randomId('dky'), of.projectId, of.serviceId, key.publicKey, key.fingerprint, key.sealedPrivateKey],
  )
}

/** False when the service has no deploy key. */
export async function savePinnedHosts(
  tx: Queryable,
  names: { readonly project: string; readonly service: string },
  knownHosts: string,
): Promise<boolean> {
  const rows = await tx.query(
    `update deploy_keys k set known_hosts = $3 from services s join projects p on p.id = s.project_id
      where s.id = k.service_id and p.name = $1 and s.name = $2 returning k.id`,
    [names.project, names.service, knownHosts],
  )
  return rows.length > 0
}

export async function deleteDeployKey(tx: Queryable, names: { readonly project: string; readonly service: string }): Promise<void> {
  await tx.query(
    `delete from deploy_keys k using services s join projects p on p.id = s.project_id
      where s.id = k.service_id and p.name = $1 and s.name = $2`,
    [names.project, names.service],
  )
}

export async function listGitTokens(db: Queryable, project: string): Promise<GitTokenRecord[]> {
  return db.query<GitTokenRecord>(`${GIT_TOKEN} where p.name = $1 order by t.host`, [project])
}

export async function listGitTokensOf(db: Queryable, project: ProjectId): Promise<GitTokenRecord[]> {
  return db.query<GitTokenRecord>(`${GIT_TOKEN} where t.project_id = $1 order by t.host`, [project])
}

export async function saveGitToken(
  tx: Queryable,
  token: {
    readonly projectId: string
    readonly host: string
    readonly username: string
    readonly sealedToken: Uint8Array
    readonly setBy: string
  },
): Promise<void> {
  await tx.query(
    `insert into git_tokens (project_id, host, username, sealed_token, created_by) values ($1, $2, $3, $4, $5)
     on conflict (project_id, host) do update set username = excluded.username, sealed_token = excluded.sealed_token,
       created_by = excluded.created_by, updated_at = now()`,
    [token.projectId, token.host, token.username, token.sealedToken, token.setBy],
  )
}

export async function deleteGitToken(tx: Queryable, project: string, host: string): Promise<void> {
  await tx.query('delete from git_tokens t using projects p where p.id = t.project_id and p.name = $1 and t.host = $2', [project, host])
}
