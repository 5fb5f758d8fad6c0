import { createHash } from 'node:crypto'
import { drawToken, hashToken } from '../../src/api/admin-token.ts'
import type { Role, Verb } from '../../src/domain/access.ts'
import { EMPTY_FACTS } from '../../src/domain/deployment.ts'
import type { Database, Queryable } from '../../src/store/database.ts'

/** Stands in every id of a row of the other project. */
export const FOREIGN_ID = 'zzforeign'
/** Stands in everything of the other project that nobody outside may read, and that no attacker of these tests ever sends. */
export const SECRET_MARK = 'sekritmark'

/** What an attacker may name of a project: the true ones of the other project, or ones of the same form that nothing has. */
export interface Names {
  readonly project: string
  readonly environment: string
  readonly service: string
  readonly member: string
  readonly variable: string
  readonly deployment: string
  readonly token: string
  readonly webhook: string
  readonly delivery: string
  readonly target: string
  readonly digest: string
}

const digestOf = (text: string) => `sha256:${createHash('sha256').update(text).digest('hex')}`

export const THEIRS: Names = {
  project: 'theirs',
  environment: 'theirs-env',
  service: 'theirs-web',
  member: 'theirs-member',
  variable: 'THEIRS_VARIABLE',
  deployment: `dep_${FOREIGN_ID}`,
  token: `tok_${FOREIGN_ID}`,
  webhook: `hook_${FOREIGN_ID}`,
  delivery: `del_${FOREIGN_ID}`,
  target: `tgt_${FOREIGN_ID}`,
  digest: digestOf('theirs'),
}
/** As many characters as `THEIRS`, in the same order. */
export const GHOSTS: Names = {
  project: 'ghosts',
  environment: 'ghosts-env',
  service: 'ghosts-web',
  member: 'ghosts-member',
  variable: 'GHOSTS_VARIABLE',
  deployment: 'dep_zzspectre',
  token: 'tok_zzspectre',
  webhook: 'hook_zzspectre',
  delivery: 'del_zzspectre',
  target: 'tgt_zzspectre',
  digest: digestOf('ghosts'),
}

/** A token as the API would have made it. */
export async function makeToken(
  db: Queryable,
  scope: {
    readonly project: string | null
    readonly environment?: string
    readonly role: Role
    readonly verbs?: readonly Verb[]
    readonly id?: string
  },
): Promise<string> {
  const token = drawToken()
  const id = scope.id ?? `tok_${hashToken(token).toString('hex').slice(0, 20)}`
  await db.query(
    `insert into tokens (id, name, hash, role, verbs, project_id, environment_id)
     values ($1, 'someone', $2, $3, $4, (select id from projects where name = $5),
             (select e.id from environments e join projects p on p.id = e.project_id where p.name = $5 and e.name = $6))`,
    [id, hashToken(token), scope.role, scope.verbs ?? null, scope.project, scope.environment ?? null],
  )
  return token
}

/** A project called `mine` with little in it, and one called `theirs` with a row of every kind. */
export async function seedTwoProjects(database: Database): Promise<void> {
  await database.transaction(async (db) => {
    await db.query(`insert into projects (id, name) values ('prj_own', 'mine')`)
    await db.query(
      `insert into environments (id, project_id, name) values ('env_own', 'prj_own', 'production'), ('env_own2', 'prj_own', 'staging')`,
    )
    await seedTheirs(db)
  })
}

async function seedTheirs(db: Queryable): Promise<void> {
  const of = (prefix: string) => `${prefix}_${FOREIGN_ID}`
  const [prj, env, svc, sen, dep, rel] = ['prj', 'env', 'svc', 'sen', 'dep', 'rel'].map(of)
  const source = JSON.stringify({ kind: 'git', url: `https://example.com/${SECRET_MARK}.git`, ref: null })
  const trigger = JSON.stringify({ kind: 'api', actor: SECRET_MARK, note: SECRET_MARK })
  await db.query(`insert into servers (id, name, boot_id) values ('srv_test', 'test', 'boot')`)
  await db.query('insert into projects (id, name) values ($1, $2)', [prj, THEIRS.project])
  await db.query('insert into environments (id, project_id, name, branch) values ($1, $2, $3, $4)', [
    env,
    prj,
    THEIRS.environment,
    SECRET_MARK,
  ])
  await db.query('insert into services (id, project_id, name) values ($1, $2, $3)', [svc, prj, THEIRS.service])
  await db.query(
    `insert into service_environments (id, project_id, environment_id, service_id, host, live_deployment_id, hold, source)
     values ($1, $2, $3, $4, $5, $6, $7, $8)`,
    [
      sen,
      prj,
      env,
      svc,
      `${SECRET_MARK}.localhost`,
      dep,
      JSON.stringify({ reason: SECRET_MARK, since: '2026-01-01T00:00:00Z', by: SECRET_MARK }),
      source,
    ],
  )
  const deployment = (id: string, status: string, settled: boolean, slot: number | null) =>
    db.query(
      `insert into deployments (id, project_id, environment_id, service_id, service_environment_id, kind, source, trigger, options, status,
                                status_reason, settled, settled_at, slot, facts)
       values ($1, $2, $3, $4, $5, 'deploy', $6, $7, '{}', $8, $9, $10, case when $10 then now() end, $11, $12)`,
      [
        id,
        prj,
        env,
        svc,
        sen,
        source,
        trigger,
        status,
        SECRET_MARK,
        settled,
        slot,
        JSON.stringify({ ...EMPTY_FACTS, warnings: [SECRET_MARK] }),
      ],
    )
  await deployment(THEIRS.deployment, 'running', true, null)
  await deployment(of('dep_wait'), 'pending', false, null)
  await db.query(
    `insert into deploy_keys (id, project_id, service_id, public_key, fingerprint, sealed_private_key, known_hosts)
     values ($1, $2, $3, $4, $4, '\\x00', '')`,
    [of('dky'), prj, svc, SECRET_MARK],
  )
  await db.query(`insert into git_tokens (project_id, host, username, sealed_token) values ($1, $2, $2, '\\x00')`, [prj, SECRET_MARK])
  await db.query(
    `insert into releases (id, service_environment_id, number, deployment_id, revision, artifact, config, trigger, sealed_variables)
     values ($1, $2, 1, $3, $4, $5, '{}', $6, '\\x00')`,
    [
      rel,
      sen,
      dep,
      JSON.stringify({ kind: 'upload', digest: SECRET_MARK }),
      JSON.stringify({ kind: 'tree', digest: SECRET_MARK }),
      trigger,
    ],
  )
  await db.query('update deployments set release_id = $2 where id = $1', [dep, rel])
  await db.query(
    `insert into instances (id, deployment_id, release_id, service_environment_id, server_id, index, state)
     values ($1, $2, $3, $4, 'srv_test', 0, 'serving')`,
    [of('ins'), dep, rel, sen],
  )
  await db.query(
    `insert into events (sequence, type, message, project_id, environment_id, service_id, service_environment_id, deployment_id)
     values (nextval('event_numbers'), 'deployment.running', $1, $2, $3, $4, $5, $6)`,
    [SECRET_MARK, prj, env, svc, sen, dep],
  )
  await db.query(`insert into log_lines (deployment_id, sequence, at, stream, text) values ($1, 1, now(), 'stdout', $2)`, [
    dep,
    SECRET_MARK,
  ])
  await db.query('insert into log_ends (deployment_id, last_sequence) values ($1, 1)', [dep])
  for (const environmentId of [null, env]) {
    await db.query('insert into variables (project_id, environment_id, name, sealed_value, secret) values ($1, $2, $3, $4, true)', [
      prj,
      environmentId,
      THEIRS.variable,
      Buffer.from(SECRET_MARK),
    ])
  }
  await db.query('insert into variables (project_id, name, sealed_value) values ($1, $2, $3)', [prj, SECRET_MARK, Buffer.from('x')])
  await db.query('insert into uploads (project_id, digest, bytes) values ($1, $2, 1)', [prj, THEIRS.digest])
  await db.query(`insert into members (id, project_id, name, role) values ($1, $2, $3, 'owner')`, [of('mem'), prj, THEIRS.member])
  await db.query(`insert into members (id, project_id, name, role) values ($1, $2, $3, 'owner')`, [of('mem2'), prj, SECRET_MARK])
  await db.query(`insert into freezes (id, project_id, reason, created_by) values ($1, $2, $3, $3)`, [of('frz'), prj, SECRET_MARK])
  await db.query(`insert into webhooks (id, project_id, service_id, provider, repository) values ($1, $2, $3, 'github', $4)`, [
    THEIRS.webhook,
    prj,
    svc,
    SECRET_MARK,
  ])
  await db.query(
    `insert into webhook_deliveries (id, webhook_id, delivery_id, body_digest, verdict, reason, parsed)
     values ($1, $2, $3, $3, 'skipped', $3, '{"kind": "push"}')`,
    [THEIRS.delivery, THEIRS.webhook, SECRET_MARK],
  )
  await db.query(
    `insert into notification_targets (id, project_id, name, kind, sealed_url, told) values ($1, $2, $3, 'slack', '\\x00', '{failed}')`,
    [THEIRS.target, prj, SECRET_MARK],
  )
  await makeToken(db, { project: THEIRS.project, role: 'owner', id: THEIRS.token })
  await db.query(`insert into audit_log (actor, action, project_id, project, target) values ($1, 'token.create', $2, $3, $1)`, [
    SECRET_MARK,
    prj,
    THEIRS.project,
  ])
}

/** What earlier attacks made in one's own project goes, so that answers tell about the other one only. */
export async function resetMine(db: Queryable): Promise<void> {
  for (const statement of [
    'delete from webhooks where project_id = $1',
    'delete from notification_targets where project_id = $1',
    'delete from deployments where project_id = $1',
    'delete from service_environments where project_id = $1',
    'delete from variables where project_id = $1',
    'delete from services where project_id = $1',
    `delete from environments where project_id = $1 and name not in ('production', 'staging')`,
    'delete from freezes where project_id = $1',
    'delete from git_tokens where project_id = $1',
    'delete from members where project_id = $1',
    `delete from tokens where project_id = $1 and name <> 'someone'`,
    'delete from events where project_id = $1',
    'delete from audit_log where project_id = $1',
  ]) {
    await db.query(statement, ['prj_own'])
  }
}

/** Every row of every table that belongs to the other project, as text. */
export async function snapshotOfTheirs(db: Queryable): Promise<string[]> {
  const tables = await db.query<{ name: string }>(
    `select table_name as name from information_schema.tables where table_schema = 'public' and table_type = 'BASE TABLE' order by 1`,
  )
  const rows: string[] = []
  for (const { name } of tables) {
    const found = await db.query<{ row: string }>(`select t::text as row from "${name}" t where t::text like '%' || $1 || '%' order by 1`, [
      FOREIGN_ID,
    ])
    rows.push(...found.map(({ row }) => `${name}: ${row}`))
  }
  return rows
}
