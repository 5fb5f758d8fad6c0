import type { Queryable } from '../../src/store/database.ts'

interface TableScope {
  /** SQL for a row `t`: id of its project; null = of the whole server. */
  readonly project: string
  /** Id of its environment; null = of the whole project. */
  readonly environment: string
  /** Columns that change by themselves. */
  readonly volatile?: readonly string[]
}

const PROJECT_OF_ENVIRONMENT = (environment: string) => `(select project_id from environments where id = ${environment})`
const within = (environment: string, volatile: readonly string[] = []): TableScope => ({
  project: PROJECT_OF_ENVIRONMENT(environment),
  environment,
  volatile,
})
const column = within('t.environment_id')
const mixed: TableScope = { project: 't.project_id', environment: 't.environment_id' }
const ofServiceEnvironment = (volatile?: readonly string[]) =>
  within('(select environment_id from service_environments where id = t.service_environment_id)', volatile)
const ofDeployment = within('(select environment_id from deployments where id = t.deployment_id)')
/** What is sent later, and again when nobody was there. */
const SENDING = ['state', 'attempts', 'next_attempt_at', 'last_error', 'sent_at', 'claimed_until']
/** Shared by the environments of a project. */
const ofProject: TableScope = { project: 't.project_id', environment: 'null' }
const ofServer: TableScope = { project: 'null', environment: 'null' }
const ofWebhook: TableScope = { project: '(select project_id from webhooks where id = t.webhook_id)', environment: 'null' }

/** To whom each table's rows belong (I10, I14). A table that is missing here fails the test: whoever adds one decides it. */
const SCOPES: Readonly<Record<string, TableScope>> = {
  audit_log: { ...mixed, environment: '(select id from environments e where e.project_id = t.project_id and e.name = t.environment)' },
  branch_heads: ofServiceEnvironment(['checked_at']),
  commit_statuses: ofServiceEnvironment(SENDING),
  deploy_keys: ofProject,
  deployments: column,
  environments: within('t.id'),
  events: mixed,
  freezes: mixed,
  garbage_runs: ofServer,
  git_tokens: ofProject,
  idempotency_keys: {
    project: '(select project_id from tokens where id = t.token_id)',
    environment: '(select environment_id from tokens where id = t.token_id)',
  },
  instances: ofServiceEnvironment(),
  leases: ofDeployment,
  log_ends: ofDeployment,
  log_lines: ofDeployment,
  members: ofProject,
  nodes: ofServer,
  notification_targets: mixed,
  notifications: { ...ofDeployment, volatile: SENDING },
  preview_approvals: ofProject,
  previews: column,
  projects: { project: 't.id', environment: 'null' },
  releases: ofServiceEnvironment(),
  scans: ofDeployment,
  sealing_keys: ofServer,
  servers: { ...ofServer, volatile: ['seen_at'] },
  service_environments: column,
  services: ofProject,
  shiplock_migrations: ofServer,
  stage_runs: ofDeployment,
  tokens: { ...mixed, volatile: ['last_used_at'] },
  uploads: mixed,
  variables: mixed,
  webhook_deliveries: ofWebhook,
  webhooks: ofProject,
  // What deploys next, as far as no table says it.
  deploy_rules: ofServiceEnvironment(),
  routes: ofServiceEnvironment(),
}

/** What some rights reach: a project, or one environment of it. */
export interface Reach {
  readonly projectId: string
  readonly environmentId: string | null
}

/** Every row that the reach does not cover, as `table: row`. */
export async function rowsBeyond(db: Queryable, { projectId, environmentId }: Reach): Promise<Set<string>> {
  const tables = await db.query<{ name: string }>(
    `select table_name as name from information_schema.tables where table_schema = 'public' and table_type = 'BASE TABLE'
     union select unnest(array['deploy_rules', 'routes']) order by 1`,
  )
  const unknown = tables.filter(({ name }) => SCOPES[name] === undefined)
  if (unknown.length > 0)
    throw new Error(`to which project and environment do rows of these tables belong? ${unknown.map(({ name }) => name)}`)
  const rows = new Set<string>()
  for (const { name } of tables) {
    const scope = SCOPES[name] as TableScope
    const beyond = environmentId === null ? `${scope.project} is distinct from $1::text` : `${scope.environment} is distinct from $1::text`
    const found = await db.query<{ row: string }>(`select (to_jsonb(t) - $2::text[])::text as row from "${name}" t where ${beyond}`, [
      environmentId ?? projectId,
      scope.volatile ?? [],
    ])
    for (const { row } of found) rows.add(`${name}: ${row}`)
  }
  return rows
}
