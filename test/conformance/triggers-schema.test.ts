import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { migrate, readMigrations } from '../../src/store/migrate.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'

let fixture: TestDatabase
const run = (sql: string, values: readonly unknown[] = []) => fixture.database.query<Record<string, unknown>>(sql, [...values])

beforeAll(async () => {
  fixture = await freshDatabase()
  for (const project of ['a', 'b']) {
    await run('insert into projects (id, name) values ($1, $1)', [project])
    await run("insert into environments (id, project_id, name) values ('env-' || $1, $1, 'production')", [project])
    await run("insert into services (id, project_id, name) values ('svc-' || $1, $1, 'api')", [project])
    await run("insert into webhooks (id, project_id, service_id, provider) values ('hook-' || $1, $1, 'svc-' || $1, 'github')", [project])
  }
})
afterAll(() => fixture?.drop())
beforeEach(() => run('delete from webhook_deliveries'))

test('a database of the first version is brought up with its tokens still valid for the whole server', async () => {
  const old = await freshDatabase({ isEmpty: true })
  const migrations = await readMigrations()
  await migrate(old.database, { migrations: migrations.slice(0, 1) })
  await old.database.query("insert into tokens (id, name, hash) values ('tok', 'admin', '\\x00')")
  expect(await migrate(old.database, { migrations: migrations.slice(0, 2) })).toEqual(['0002-triggers'])
  expect(await old.database.query('select name, project, role, verbs, is_valid as valid from access')).toEqual([
    { name: 'admin', project: null, role: 'owner', verbs: null, valid: true },
  ])
  await old.drop()
})

describe('I10: nothing refers to another project', () => {
  test.each([
    ['a webhook', "insert into webhooks (id, project_id, service_id, provider) values ('x', 'a', 'svc-b', 'github')"],
    [
      'a deploy key',
      "insert into deploy_keys (id, project_id, service_id, public_key, fingerprint, sealed_private_key) values ('x', 'a', 'svc-b', 'k', 'f', '')",
    ],
    ['a freeze', "insert into freezes (id, project_id, environment_id, reason, created_by) values ('x', 'a', 'env-b', 'r', 'me')"],
    ['a token', "insert into tokens (id, name, hash, project_id, environment_id) values ('x', 'x', '\\x01', 'a', 'env-b')"],
    ['a preview', "insert into previews values ('env-b', 'a', 'hook-a', 'r', 1, 's', 'h', 'me', false, now())"],
    [
      'a notification target',
      "insert into notification_targets (id, project_id, environment_id, kind, sealed_url, told) values ('x', 'a', 'env-b', 'slack', '', '{failed}')",
    ],
  ])('%s', async (_, sql) => {
    await expect(run(sql)).rejects.toMatchObject({ sqlState: '23503' })
  })

  test('a token of an environment names its project too', async () => {
    await expect(run("insert into tokens (id, name, hash, environment_id) values ('x', 'x', '\\x02', 'env-a')")).rejects.toMatchObject({
      sqlState: '23514',
    })
  })
})

describe('deliveries', () => {
  const deliver = (id: string, webhook: string, delivery: string, verdict: string, more: { replayOf?: string; payload?: Buffer } = {}) =>
    run(
      `insert into webhook_deliveries (id, webhook_id, delivery_id, body_digest, verdict, replay_of, payload) values ($1, $2, $3, 'd', $4, $5, $6)`,
      [id, webhook, delivery, verdict, more.replayOf ?? null, more.payload ?? null],
    )

  test('an id counts once per webhook', async () => {
    await deliver('1', 'hook-a', 'guid', 'received')
    await expect(deliver('2', 'hook-a', 'guid', 'received')).rejects.toMatchObject({ sqlState: '23505' })
    await deliver('3', 'hook-b', 'guid', 'received')
  })

  test('a refused request, one that failed here and a duplicate do not use the id up; a replay has the id of the first', async () => {
    await deliver('1', 'hook-a', 'guid', 'refused')
    await deliver('2', 'hook-a', 'guid', 'failed')
    await deliver('3', 'hook-a', 'guid', 'queued')
    await deliver('4', 'hook-a', 'guid', 'duplicate')
    await deliver('5', 'hook-a', 'guid', 'queued', { replayOf: '3' })
    expect(await run('select project, service, verdict from webhook_log')).toHaveLength(5)
  })

  test('I12: what is kept of a body is bounded, and nothing is kept of a refused one', async () => {
    await expect(deliver('1', 'hook-a', 'g', 'queued', { payload: Buffer.alloc(65_537) })).rejects.toMatchObject({ sqlState: '23514' })
    await expect(deliver('2', 'hook-a', 'g', 'refused', { payload: Buffer.from('x') })).rejects.toMatchObject({ sqlState: '23514' })
    await expect(deliver('3', 'hook-a', 'x'.repeat(129), 'queued')).rejects.toMatchObject({ sqlState: '23514' })
  })
})

test('a freeze ends by time or by hand, and the view shows those that hold', async () => {
  await run("insert into freezes (id, project_id, environment_id, reason, created_by) values ('open', 'a', 'env-a', 'sale', 'me')")
  await run(
    "insert into freezes (id, project_id, reason, created_by, until) values ('timed', 'a', 'night', 'me', now() + interval '1 hour')",
  )
  await run(
    "insert into freezes (id, project_id, reason, created_by, created_at, until) values ('past', 'a', 'old', 'me', now() - interval '2 hours', now() - interval '1 hour')",
  )
  expect(await run('select id, project, environment from active_freezes order by id')).toEqual([
    { id: 'open', project: 'a', environment: 'production' },
    { id: 'timed', project: 'a', environment: null },
  ])
  await run("update freezes set lifted_at = now(), lifted_by = 'me'")
  expect(await run('select id from active_freezes')).toEqual([])
})

test('a token that expired or was revoked is not valid, and its role is that of its member', async () => {
  await run("insert into members (id, project_id, name, role) values ('m', 'b', 'eve', 'viewer')")
  await run("insert into tokens (id, name, hash, project_id, member_id) values ('t1', 'x', '\\x11', 'b', 'm')")
  await run("insert into tokens (id, name, hash, expires_at) values ('t2', 'x', '\\x12', now() - interval '1 second')")
  await run("insert into tokens (id, name, hash, revoked_at) values ('t3', 'x', '\\x13', now())")
  expect(await run('select id, role, is_valid from access order by id')).toEqual([
    { id: 't1', role: 'viewer', is_valid: true },
    { id: 't2', role: 'owner', is_valid: false },
    { id: 't3', role: 'owner', is_valid: false },
  ])
  await run("delete from members where id = 'm'")
  expect(await run("select id from tokens where id = 't1'")).toEqual([])
})
