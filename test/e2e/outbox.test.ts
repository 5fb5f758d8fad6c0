import { createHmac } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { systemClock } from '../../src/core/clock.ts'
import { LIMITS } from '../../src/core/limits.ts'
import { silentLogger } from '../../src/core/log.ts'
import { Keyring } from '../../src/core/seal.ts'
import type { EventType } from '../../src/domain/event.ts'
import type { DeploymentId, EnvironmentId, ProjectId, ServiceEnvironmentId, ServiceId } from '../../src/domain/ids.ts'
import { type SenderDependencies, sendNotifications, sendStatuses, sendTestNotification } from '../../src/engine/outbox/sender.ts'
import { appendEvents } from '../../src/store/sql/events.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { GitHost } from '../support/git-host.ts'
import { SHA } from '../support/hook-client.ts'

let fixture: TestDatabase
let host: GitHost
const sealer = new Keyring([Buffer.alloc(32, 7)])
const signal = new AbortController().signal
const dependencies = (more: Partial<SenderDependencies> = {}): SenderDependencies => ({
  database: fixture.database,
  clock: systemClock,
  logger: silentLogger,
  sealer,
  urlOf: (name) => `https://${name}`,
  reach: 'any',
  gitAuthorities: async () => null,
  ...more,
})
const run = (sql: string, values: readonly unknown[] = []) => fixture.database.query<Record<string, unknown>>(sql, [...values])

beforeAll(async () => {
  fixture = await freshDatabase()
  host = await GitHost.start()
  await run(`insert into projects (id, name) values ('prj', 'default')`)
  await run(`insert into environments (id, project_id, name) values ('env', 'prj', 'production'), ('env2', 'prj', 'staging')`)
  await run(`insert into services (id, project_id, name) values ('svc', 'prj', 'web')`)
  await run(
    `insert into service_environments (id, project_id, environment_id, service_id, host) values ('sen', 'prj', 'env', 'svc', 'web.example.com')`,
  )
})
afterAll(async () => {
  await host?.stop()
  await fixture?.drop()
})
let deployment: DeploymentId
let count = 0
beforeEach(async () => {
  host.received.length = 0
  host.answers.length = 0
  await run('delete from webhooks')
  await run('delete from notification_targets')
  deployment = `dep_${count++}` as DeploymentId
  await run(
    `insert into deployments (id, project_id, environment_id, service_id, service_environment_id, kind, trigger, options, facts)
     values ($1, 'prj', 'env', 'svc', 'sen', 'deploy', $2, '{}', $3)`,
    [
      deployment,
      JSON.stringify({ kind: 'webhook', actor: 'mara', push: { commit: SHA('b') } }),
      JSON.stringify({ revision: { kind: 'git', commit: SHA('b'), message: 'Fix <the> & berth', author: 'Mara', ref: 'main' } }),
    ],
  )
})

const webhook = (provider: string, repository = 'https://git.example.com/quayside/harbour.git') =>
  run(
    `insert into webhooks (id, project_id, service_id, provider, repository, api_url, sealed_api_token) values ('hook', 'prj', 'svc', $1, $2, $3, $4)`,
    [provider, repository, `${host.url}/api`, sealer.seal('t0ken')],
  )
const happen = (type: EventType, message = 'it happened', data = {}) =>
  fixture.database.transaction((tx) =>
    appendEvents(tx, [
      {
        type,
        message,
        projectId: 'prj' as ProjectId,
        environmentId: 'env' as EnvironmentId,
        serviceId: 'svc' as ServiceId,
        serviceEnvironmentId: 'sen' as ServiceEnvironmentId,
        deploymentId: deployment,
        instanceId: null,
        data,
      },
    ]),
  )
const due = () => run('update commit_statuses set next_attempt_at = now()')

describe('commit statuses', () => {
  test('GitHub', async () => {
    await webhook('github')
    await happen('deployment.running', 'web serves at web.example.com')
    await sendStatuses(dependencies(), signal)
    expect(host.received).toHaveLength(1)
    expect(host.received[0]).toMatchObject({
      method: 'POST',
      path: `/api/repos/quayside/harbour/statuses/${SHA('b')}`,
      headers: {
        authorization: 'Bearer t0ken',
        accept: 'application/vnd.github+json',
        'x-github-api-version': '2022-11-28',
        'user-agent': 'Shiplock',
      },
      body: {
        state: 'success',
        context: 'shiplock/web/production',
        description: 'web serves at web.example.com',
        target_url: 'https://web.example.com',
      },
    })
    expect(await run('select state, attempts, sent_at is not null as sent from commit_statuses')).toEqual([
      { state: 'sent', attempts: 1, sent: true },
    ])
  })

  test('GitLab, with groups in groups', async () => {
    await webhook('gitlab', 'git@gitlab.example.com:quayside/ports/harbour.git')
    await happen('deployment.failed', 'the build failed')
    await sendStatuses(dependencies(), signal)
    expect(host.received[0]).toMatchObject({
      method: 'POST',
      path: `/api/projects/quayside%2Fports%2Fharbour/statuses/${SHA('b')}`,
      headers: { 'private-token': 't0ken' },
      body: { state: 'failed', name: 'shiplock/web/production', description: 'the build failed' },
    })
  })

  test('GitLab says so when the commit has that state already: it counts as told', async () => {
    await webhook('gitlab')
    host.answers.push({ status: 400, body: { message: 'Cannot transition status via :enqueue from :pending' } })
    await happen('deployment.queued')
    await sendStatuses(dependencies(), signal)
    expect(await run('select state from commit_statuses')).toEqual([{ state: 'sent' }])
  })

  test('Gitea and Forgejo', async () => {
    await webhook('gitea', 'ssh://git@git.example.com:2222/quayside/harbour')
    await happen('deployment.canceled', 'canceled by mara while it waited')
    await sendStatuses(dependencies(), signal)
    expect(host.received[0]).toMatchObject({
      path: `/api/repos/quayside/harbour/statuses/${SHA('b')}`,
      headers: { authorization: 'token t0ken' },
      body: { state: 'error', context: 'shiplock/web/production', description: 'canceled by mara while it waited' },
    })
  })

  test('a busy host is asked again when it says, a broken one later each time, and not for ever', async () => {
    await webhook('github')
    await happen('deployment.running')
    const waits = async () => (await run('select state, extract(epoch from next_attempt_at - now())::int as wait from commit_statuses'))[0]
    host.answers.push({ status: 429, headers: { 'retry-after': '120' } })
    await sendStatuses(dependencies(), signal)
    expect(await waits()).toEqual({ state: 'pending', wait: 120 })
    host.answers.push({ status: 502 })
    await due()
    await sendStatuses(dependencies(), signal)
    expect(await waits()).toEqual({ state: 'pending', wait: 4 })
    await run('update commit_statuses set attempts = $1, next_attempt_at = now()', [LIMITS.outboxAttempts - 1])
    host.answers.push({ status: 503, body: 'down' })
    await sendStatuses(dependencies(), signal)
    expect(await run('select state, last_error from commit_statuses')).toEqual([
      { state: 'given_up', last_error: expect.stringContaining('HTTP 503') },
    ])
    await sendStatuses(dependencies(), signal)
    expect(host.received).toHaveLength(3)
  })

  test('a token that may not is not tried again', async () => {
    await webhook('github')
    await happen('deployment.running')
    host.answers.push({ status: 403, body: { message: 'Resource not accessible' } })
    await sendStatuses(dependencies(), signal)
    expect(await run('select state, last_error from commit_statuses')).toEqual([
      { state: 'given_up', last_error: expect.stringContaining('Resource not accessible') },
    ])
  })

  test('what was overtaken before it was sent is not sent', async () => {
    await webhook('github')
    await happen('deployment.queued')
    await happen('deployment.running')
    await sendStatuses(dependencies(), signal)
    expect(host.received.map(({ body }) => body.state)).toEqual(['success'])
    expect(await run('select status, state from commit_statuses order by position')).toEqual([
      { status: 'pending', state: 'overtaken' },
      { status: 'success', state: 'sent' },
    ])
  })

  test('while one is under way, the one after it waits: order is kept', async () => {
    await webhook('github')
    await happen('deployment.queued')
    await run(`update commit_statuses set claimed_until = now() + interval '1 minute'`)
    await happen('deployment.running')
    await sendStatuses(dependencies(), signal)
    expect(host.received).toEqual([])
    await run(`update commit_statuses set claimed_until = now() - interval '1 second' where status = 'pending'`)
    await sendStatuses(dependencies(), signal)
    expect(host.received.map(({ body }) => body.state)).toEqual(['success'])
  })

  test('two servers send each once', async () => {
    await webhook('github')
    await happen('deployment.running')
    await Promise.all([1, 2, 3, 4].map(() => sendStatuses(dependencies(), signal)))
    expect(host.received).toHaveLength(1)
  })

  test('a transaction that is rolled back tells nobody', async () => {
    await webhook('github')
    await expect(
      fixture.database.transaction(async (tx) => {
        await appendEvents(tx, [
          {
            type: 'deployment.running',
            message: 'x',
            projectId: null,
            environmentId: null,
            serviceId: null,
            serviceEnvironmentId: null,
            deploymentId: deployment,
            instanceId: null,
            data: {},
          },
        ])
        throw new Error('killed')
      }),
    ).rejects.toThrow('killed')
    expect(await run('select id from commit_statuses')).toEqual([])
  })

  test('without a token nothing is written, with an address of this machine nothing is sent unless that is allowed', async () => {
    await webhook('github')
    await run('update webhooks set sealed_api_token = null')
    await happen('deployment.running')
    expect(await run('select id from commit_statuses')).toEqual([])
    await run('delete from webhooks')
    await webhook('github')
    await happen('deployment.failed')
    await sendStatuses(dependencies({ reach: 'private' }), signal)
    expect(host.received).toEqual([])
    expect(await run('select state, last_error from commit_statuses')).toEqual([
      { state: 'given_up', last_error: expect.stringContaining('refused') },
    ])
  })

  test('a description of any length and script fits', async () => {
    await webhook('github')
    await happen('deployment.failed', '🚢'.repeat(300))
    await sendStatuses(dependencies(), signal)
    expect([...(host.received[0]?.body.description ?? '')]).toHaveLength(140)
  })
})

describe('notifications', () => {
  const target = (id: string, kind: string, told: string, environment: string | null = null) =>
    run(
      `insert into notification_targets (id, project_id, environment_id, kind, sealed_url, sealed_secret, told) values ($1, 'prj', $2, $3, $4, $5, $6)`,
      [
        id,
        environment,
        kind,
        sealer.seal(`${host.url}/${id}`),
        kind === 'webhook' ? sealer.seal(`whsec_${Buffer.from('key').toString('base64')}`) : null,
        told,
      ],
    )

  test('a signed webhook: what happened, in words and facts, verifiable by id, time and body', async () => {
    await target('tgt', 'webhook', '{running}')
    await happen('deployment.running', 'web serves at web.example.com')
    await sendNotifications(dependencies(), signal)
    const [got] = host.received
    expect(got?.body).toMatchObject({
      type: 'deployment.running',
      project: 'default',
      environment: 'production',
      service: 'web',
      deployment,
      commit: SHA('b'),
      actor: 'mara',
      message: 'web serves at web.example.com',
      url: 'https://web.example.com',
    })
    const {
      'webhook-id': id,
      'webhook-timestamp': timestamp,
      'webhook-signature': signature,
    } = (got?.headers ?? {}) as Record<string, string>
    expect(got?.body.id).toBe(id)
    expect(signature).toBe(`v1,${createHmac('sha256', 'key').update(`${id}.${timestamp}.${got?.text}`).digest('base64')}`)
  })

  test('Slack’s form, with nothing in it that a commit message could turn into a mention', async () => {
    await target('tgt', 'slack', '{failed}')
    await happen('deployment.failed', 'npm ci <!channel> failed & more')
    await sendNotifications(dependencies(), signal)
    const { text, attachments } = host.received[0]?.body ?? {}
    expect(text).toBe('🔴 *web in production* failed')
    expect(attachments[0].text).toContain('npm ci &lt;!channel&gt; failed &amp; more')
    expect(attachments[0].text).toContain('Fix &lt;the&gt; &amp; berth')
  })

  test('each target is told what it asked for, where it asked for it, once', async () => {
    await target('all', 'webhook', '{running,failed,rolled_back}')
    await target('failures', 'webhook', '{failed}')
    await target('elsewhere', 'webhook', '{running}', 'env2')
    await happen('deployment.running')
    await happen('deployment.rolled_back')
    await happen('deployment.running')
    await sendNotifications(dependencies(), signal)
    expect(host.received.map(({ path, body }) => `${path} ${body.type}`).sort()).toEqual([
      '/all deployment.rolled_back',
      '/all deployment.running',
    ])
  })

  test('is tried again, and given up in the end; a redirect is not followed', async () => {
    await target('tgt', 'webhook', '{running}')
    await happen('deployment.running')
    host.answers.push({ status: 500 }, { status: 302, headers: { location: 'http://169.254.169.254/' } })
    await sendNotifications(dependencies(), signal)
    await run('update notifications set next_attempt_at = now()')
    await sendNotifications(dependencies(), signal)
    expect(await run('select state, attempts, last_error from notifications')).toEqual([
      { state: 'given_up', attempts: 2, last_error: expect.stringContaining('HTTP 302') },
    ])
  })

  test('a test is sent at once and says what came of it', async () => {
    await target('tgt', 'slack', '{running}')
    expect(await sendTestNotification(dependencies(), 'tgt')).toEqual({ sent: true, message: 'taken' })
    host.answers.push({ status: 404 })
    expect(await sendTestNotification(dependencies(), 'tgt')).toMatchObject({ sent: false, message: expect.stringContaining('HTTP 404') })
    expect(await sendTestNotification(dependencies({ reach: 'public' }), 'tgt')).toMatchObject({
      sent: false,
      message: expect.stringContaining('refused'),
    })
  })
})
