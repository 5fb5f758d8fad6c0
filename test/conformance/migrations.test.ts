import { afterEach, beforeEach, expect, test } from 'vitest'
import type { ServiceEnvironmentId } from '../../src/domain/ids.ts'
import type { Queryable } from '../../src/store/database.ts'
import { migrate, readMigrations } from '../../src/store/migrate.ts'
import { findServiceEnvironment } from '../../src/store/sql/catalog.ts'
import { readDeployRules, readPushRules } from '../../src/store/sql/deploy-rules.ts'
import { hasUpload, recordUpload } from '../../src/store/sql/uploads.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'

/** What stood in a database before a migration, and what it means afterwards. */
let test_: TestDatabase
beforeEach(async () => {
  test_ = await freshDatabase({ isEmpty: true })
})
afterEach(() => test_.drop())

/** As the version before the migration of that number left it. */
async function migrateTo(last: number): Promise<Queryable> {
  const all = await readMigrations()
  await migrate(test_.database, { migrations: all.slice(0, last) })
  return test_.database
}
const git = (name: string) => ({ kind: 'git', url: `https://example.com/${name}.git`, ref: null })

test('I14: each environment goes on with what was deployed there, not with what another one left on the service', async () => {
  const db = await migrateTo(13)
  await db.query(`insert into projects (id, name) values ('p', 'shop')`)
  await db.query(`insert into environments (id, project_id, name, is_preview) values
    ('production', 'p', 'production', false), ('staging', 'p', 'staging', false), ('fresh', 'p', 'fresh', false), ('preview', 'p', 'preview-7', true)`)
  await db.query(
    `insert into services (id, project_id, name, source, trigger_rules, queue_policy) values ('s', 'p', 'web', $1, $2, 'latest')`,
    [
      JSON.stringify({ kind: 'upload', digest: 'sha256:staging', label: null }),
      JSON.stringify({ branch: 'evil', tags: '*', watch: ['nothing'] }),
    ],
  )
  for (const id of ['production', 'staging', 'fresh', 'preview']) {
    await db.query(`insert into service_environments (id, project_id, environment_id, service_id, host) values ($1, 'p', $1, 's', $1)`, [
      id,
    ])
  }
  await db.query(`insert into webhooks (id, project_id, service_id, provider, repository) values ('hook', 'p', 's', 'github', $1)`, [
    git('hooked').url,
  ])
  const add = async (id: string, at: string, source: object, kind: string, branch: string) => {
    const facts = { revision: null, config: { trigger: { branch, tags: null, watch: [], queue: 'every' } } }
    await db.query(
      `insert into deployments (id, project_id, environment_id, service_id, service_environment_id, kind, source, trigger, options, facts, status, settled, settled_at)
       values ($1, 'p', $2, 's', $2, 'deploy', $3, $4, '{"configPath": "deep.yaml"}', $5, 'failed', true, now())`,
      [id, at, JSON.stringify(source), JSON.stringify({ kind }), JSON.stringify(facts)],
    )
  }
  await add('d1', 'production', git('own'), 'cli', 'main')
  await add('d2', 'production', git('pushed'), 'webhook', 'main')
  await add('d3', 'production', git('hostile'), 'webhook', 'evil')
  await add('d4', 'preview', { ...git('fork'), ref: 'refs/pull/7/head' }, 'webhook', 'evil')
  await add('d5', 'staging', { kind: 'upload', digest: 'sha256:staging', label: null }, 'cli', 'develop')
  await db.query(
    `insert into releases (id, service_environment_id, number, deployment_id, revision, artifact, config, trigger, sealed_variables)
     select 'r', 'production', 1, 'd2', '{}', '{}', facts->'config', trigger, '' from deployments where id = 'd2'`,
  )
  await db.query(`update deployments set release_id = 'r', status = 'running' where id = 'd2'`)
  await db.query(`update service_environments set live_deployment_id = 'd2' where id = 'production'`)
  await db.query(`insert into uploads (project_id, digest, bytes) values ('p', 'sha256:old', 1)`)

  await migrate(test_.database)
  const sourceIn = async (environment: string) =>
    (await findServiceEnvironment(db, { project: 'shop', environment, service: 'web' }))?.source ?? null
  const rulesIn = (id: string) => readPushRules(db, id)
  expect(await sourceIn('production')).toEqual(git('own'))
  expect(await sourceIn('staging')).toMatchObject({ kind: 'upload' })
  expect(await sourceIn('fresh')).toEqual(git('hooked'))
  expect(await sourceIn('preview-7')).toBeNull()
  expect(await rulesIn('production')).toEqual({ branch: 'main', tags: null, watch: [], queue: 'every' })
  expect(await rulesIn('staging')).toMatchObject({ branch: 'develop' })
  expect(await rulesIn('fresh')).toEqual({ branch: null, tags: null, watch: [], queue: 'every' })
  expect(await rulesIn('preview')).toBeNull()
  expect(await readDeployRules(db, 'production' as ServiceEnvironmentId)).toMatchObject({ queue: 'every', configPath: 'deep.yaml' })
  // What was uploaded before belongs to the whole project.
  expect(await hasUpload(db, { project: 'shop', environment: null }, 'sha256:old')).toBe(true)
  expect(await hasUpload(db, { project: 'shop', environment: 'staging' }, 'sha256:old')).toBe(false)
  for (const environment of ['staging', 'staging', null])
    await recordUpload(db, { project: 'shop', environment }, { digest: 'sha256:new', bytes: 1 })
  expect(await hasUpload(db, { project: 'shop', environment: 'staging' }, 'sha256:new')).toBe(true)
  expect(await hasUpload(db, { project: 'shop', environment: 'production' }, 'sha256:new')).toBe(false)
})
