import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { AuditEntry, CreatedToken } from '../../src/contract/access.ts'
import { Problem } from '../../src/contract/problem.ts'
import { LIMITS } from '../../src/core/limits.ts'
import { deleteOldAudit } from '../../src/store/sql/audit.ts'
import { deleteEndedTokens } from '../../src/store/sql/tokens.ts'
import { listOverRetention } from '../../src/store/sql/upkeep.ts'
import { type ApiAnswer, type ApiFixture, startApi } from '../support/api-fixture.ts'

let api: ApiFixture
beforeAll(async () => {
  api = await startApi()
  for (const name of ['shop', 'blog']) await made('/v1/projects', { name })
  await made('/v1/environments', { project: 'shop', name: 'production' })
  await made('/v1/environments', { project: 'shop', name: 'staging', branch: 'develop' })
})
afterAll(() => api.stop())

async function made(path: string, body: unknown, token?: string): Promise<ApiAnswer['body']> {
  const answer = await as(token, 'POST', path, body)
  expect(answer.status, JSON.stringify(answer.body)).toBe(201)
  return answer.body
}

/** With a token of its own, or the administrator's. */
function as(token: string | undefined, method: string, path: string, body?: unknown, headers: Readonly<Record<string, string>> = {}) {
  return api.call(method, path, body, token === undefined ? headers : { authorization: `Bearer ${token}`, ...headers })
}

async function newToken(body: Readonly<Record<string, unknown>>, token?: string): Promise<{ id: string; token: string }> {
  const created = CreatedToken.parse(await made('/v1/tokens', { project: 'shop', name: 'one', ...body }, token))
  return { id: created.id, token: created.token ?? '' }
}

const deploy = { service: 'web', source: { kind: 'git', url: 'https://example.com/web.git' } }

describe('tokens', () => {
  test('a token is shown once, stored as its hash, and not kept for a repeated request', async () => {
    const ask = () => as(undefined, 'POST', '/v1/tokens', { project: 'shop', name: 'once' }, { 'idempotency-key': 'once-1' })
    const first = (await ask()).body
    const second = (await ask()).body
    expect(first.token).toMatch(/^slk_[\w-]{43}$/)
    expect(second).toEqual({ ...first, token: null })
    const stored = await api.database.query<{ row: string }>(
      `select t::text as row from tokens t union all select i::text from idempotency_keys i union all select a::text from audit_log a`,
    )
    expect(JSON.stringify(stored)).not.toContain(first.token)
    expect(JSON.stringify((await api.call('GET', '/v1/tokens')).body)).not.toContain(first.token)
  })

  test('it may what its role may, where it counts, and says so', async () => {
    const viewer = await newToken({ role: 'viewer' })
    const staging = await newToken({ role: 'developer', environment: 'staging' })
    expect((await as(viewer.token, 'GET', '/v1/services')).status).toBe(200)
    const refused = await as(viewer.token, 'POST', '/v1/deployments', deploy)
    expect(refused.status).toBe(403)
    expect(Problem.parse(refused.body).detail).toContain('may not `deploy`')
    expect(refused.body.hint).toContain('developer or owner')
    const queued = await as(staging.token, 'POST', '/v1/deployments', deploy)
    expect(queued.status).toBe(202)
    expect(queued.body).toMatchObject({ project: 'shop', environment: 'staging' })
    expect((await as(staging.token, 'POST', '/v1/deployments', { ...deploy, environment: 'production' })).status).toBe(404)
    expect((await as(staging.token, 'PUT', '/v1/variables', { variables: { A: '1' } })).body.detail).toContain('staging of shop only')
    expect((await as(staging.token, 'PUT', '/v1/variables', { environment: 'staging', variables: { A: '1' } })).status).toBe(200)
    expect((await as(staging.token, 'GET', '/v1/token')).body).toMatchObject({
      project: 'shop',
      environment: 'staging',
      verbs: ['read', 'deploy', 'operate', 'configure', 'secrets'],
    })
    expect((await as(viewer.token, 'GET', '/v1/server')).body.checks).toEqual([])
  })

  test('I14: a token of one environment sees nothing of the others of its project', async () => {
    const staging = await newToken({ role: 'owner', environment: 'staging' })
    const { body: other } = await api.call('POST', '/v1/deployments', {
      ...deploy,
      project: 'shop',
      environment: 'production',
      service: 'hidden',
    })
    for (const path of [
      '/v1/services',
      '/v1/deployments',
      '/v1/events',
      '/v1/queue',
      '/v1/environments',
      '/v1/variables',
      '/v1/audit',
      '/v1/tokens',
    ]) {
      const answer = await as(staging.token, 'GET', path)
      expect(answer.status, path).toBe(200)
      expect(JSON.stringify(answer.body), path).not.toMatch(/hidden|production/)
    }
    const refusals = [`/v1/deployments/${other.id}`, `/v1/deployments/${other.id}/logs`, '/v1/services/hidden?environment=production']
    for (const path of refusals) expect((await as(staging.token, 'GET', path)).status, path).toBe(404)
    expect((await as(staging.token, 'POST', `/v1/deployments/${other.id}/cancel`)).status).toBe(404)
    for (const path of ['/v1/members', '/v1/environments']) {
      const answer = await as(staging.token, 'POST', path, {
        name: 'x',
        role: 'viewer',
        ...(path === '/v1/environments' ? { role: undefined } : {}),
      })
      expect(answer.status, path).toBe(403)
    }
  })

  test('verbs narrow the role', async () => {
    const only = await newToken({ role: 'developer', verbs: ['deploy'] })
    expect((await as(only.token, 'POST', '/v1/deployments', { ...deploy, environment: 'staging' })).status).toBe(202)
    expect((await as(only.token, 'GET', '/v1/services')).status).toBe(403)
    expect((await as(undefined, 'POST', '/v1/tokens', { project: 'shop', name: 'x', role: 'viewer', verbs: ['deploy'] })).status).toBe(400)
  })

  test('it can’t make one with more rights than its own', async () => {
    const owner = await newToken({ role: 'owner', expiresInSeconds: 3600 })
    const narrow = await newToken({ role: 'owner', verbs: ['read', 'manage'] })
    const refusedAs = async (token: string, body: Readonly<Record<string, unknown>>, status = 403) => {
      const answer = await as(token, 'POST', '/v1/tokens', { project: 'shop', name: 'more', ...body })
      expect(answer.status, JSON.stringify(body)).toBe(status)
      return answer.body.detail
    }
    expect(await refusedAs(owner.token, { role: 'viewer' })).toContain('valid beyond')
    expect(await refusedAs(narrow.token, { role: 'developer' })).toContain('may deploy')
    expect(await refusedAs(narrow.token, { project: 'blog', role: 'viewer' }, 404)).toBe('no project blog')
    expect((await as(owner.token, 'POST', '/v1/server/tokens', { name: 'all' })).status).toBe(403)
    // A role that is raised would be a token that grew.
    expect((await as(narrow.token, 'POST', '/v1/members', { name: 'eve', role: 'owner' })).status).toBe(403)
    expect((await as(narrow.token, 'POST', '/v1/members', { name: 'eve', role: 'viewer' })).status).toBe(201)
    expect((await as(narrow.token, 'PUT', '/v1/members/eve', { role: 'developer' })).status).toBe(403)
    await newToken({ role: 'viewer', expiresInSeconds: 60 }, owner.token)
  })

  test('a member’s tokens follow the member’s role, and end with it', async () => {
    await made('/v1/members', { project: 'shop', name: 'anna@example.com', role: 'viewer' })
    const anna = await newToken({ member: 'anna@example.com' })
    const tryDeploy = async () => (await as(anna.token, 'POST', '/v1/deployments', { ...deploy, environment: 'staging' })).status
    expect(await tryDeploy()).toBe(403)
    expect((await api.call('PUT', '/v1/members/anna%40example.com?project=shop', { role: 'developer' })).body.tokens).toBe(1)
    expect(await tryDeploy()).toBe(202)
    expect((await api.call('POST', '/v1/tokens', { project: 'shop', name: 'x', member: 'anna@example.com', role: 'owner' })).status).toBe(
      400,
    )
    expect((await api.call('DELETE', '/v1/members/anna%40example.com?project=shop')).status).toBe(204)
    expect(await tryDeploy()).toBe(401)
  })

  test('one that expired or was revoked is refused at once', async () => {
    const short = await newToken({ role: 'viewer', expiresInSeconds: 3600 })
    const other = await newToken({ role: 'viewer' })
    await api.database.query(`update tokens set expires_at = now() where id = $1`, [short.id])
    const expired = await as(short.token, 'GET', '/v1/services')
    expect(expired.status).toBe(401)
    expect(expired.body.detail).toContain('expired')
    expect((await api.call('DELETE', `/v1/tokens/${other.id}`)).body.revokedAt).not.toBeNull()
    expect((await as(other.token, 'GET', '/v1/services')).body).toMatchObject({ status: 401, detail: 'the token was revoked' })
    expect((await api.call('DELETE', `/v1/tokens/${other.id}`)).status).toBe(200)
  })

  test('a token of a project can’t end one of the whole server', async () => {
    const owner = await newToken({ role: 'owner' })
    const server = CreatedToken.parse(await made('/v1/server/tokens', { name: 'ops', role: 'viewer' }))
    expect((await as(owner.token, 'DELETE', `/v1/tokens/${server.id}`)).status).toBe(404)
    expect((await as(server.token ?? '', 'GET', '/v1/projects')).body.items).toHaveLength(2)
    expect((await as(server.token ?? '', 'POST', '/v1/projects', { name: 'more' })).status).toBe(403)
    const manager = CreatedToken.parse(await made('/v1/server/tokens', { name: 'half', role: 'owner', verbs: ['manage'] }))
    expect((await as(manager.token ?? '', 'DELETE', `/v1/tokens/${server.id}`)).status).toBe(403)
  })

  test('the last use is noted', async () => {
    const one = await newToken({ role: 'viewer' })
    expect((await as(one.token, 'GET', '/v1/token')).body.lastUsedAt).not.toBeNull()
  })

  test.each([
    ['/v1/events', 'revoked', (id: string) => api.call('DELETE', `/v1/tokens/${id}`)],
    ['/v1/events', 'narrowed', (id: string) => api.database.query(`update tokens set verbs = '{deploy}' where id = $1`, [id])],
  ])('a stream of %s ends when its token is %s', { timeout: 60_000 }, async (path, _, change) => {
    const reader = await newToken({ role: 'developer' })
    const response = await fetch(`${api.url}${path}`, { headers: { authorization: `Bearer ${reader.token}`, accept: 'text/event-stream' } })
    expect(response.status).toBe(200)
    await change(reader.id)
    const text = await response.text()
    expect(text).toContain('event: end')
    expect(text).toContain('no longer what it was')
    expect(LIMITS.streamAccessMs).toBeLessThanOrEqual(10_000)
  })
})

describe('projects and their plans', () => {
  test('services and environments beyond the plan are refused, also when they come with a deployment or a variable', async () => {
    await made('/v1/projects', { name: 'free', limits: { services: 1, environments: 1, retention: 3 } })
    const on = (service: string, environment: string) =>
      api.call('POST', '/v1/deployments', { ...deploy, project: 'free', service, environment })
    expect((await on('web', 'production')).status).toBe(202)
    expect((await on('web', 'production')).status).toBe(202)
    const second = await on('api', 'production')
    expect(second.body).toMatchObject({ status: 409, code: 'PLAN_LIMIT', detail: 'project free may have 1 services, and has them' })
    expect((await on('web', 'staging')).body.code).toBe('PLAN_LIMIT')
    expect((await api.call('POST', '/v1/environments', { project: 'free', name: 'staging' })).body.code).toBe('PLAN_LIMIT')
    expect((await api.call('PUT', '/v1/variables', { project: 'free', service: 'api', variables: { A: '1' } })).body.code).toBe(
      'PLAN_LIMIT',
    )
    expect((await api.call('GET', '/v1/projects/free')).body).toMatchObject({ services: 1, environments: 1, limits: { retention: 3 } })
    await api.call('PUT', '/v1/projects/free/limits', { services: 2 })
    expect((await on('api', 'production')).status).toBe(202)
  })

  test('ten at once get what the plan allows, no more', async () => {
    await made('/v1/projects', { name: 'crowd', limits: { services: 3 } })
    const answers = await Promise.all(
      Array.from({ length: 10 }, (_, at) => api.call('POST', '/v1/deployments', { ...deploy, project: 'crowd', service: `web${at}` })),
    )
    expect(answers.map((answer) => answer.status).sort()).toEqual([202, 202, 202, ...Array(7).fill(409)])
  })

  test('a plan keeps fewer releases than the service asks for', async () => {
    await made('/v1/projects', { name: 'thrifty' })
    const { body } = await api.call('POST', '/v1/deployments', { ...deploy, project: 'thrifty' })
    await api.database.query(
      `insert into releases (id, service_environment_id, number, deployment_id, revision, artifact, config, trigger, sealed_variables)
       select 'rel_thrifty' || n, service_environment_id, n, 'dep_thrifty' || n, '{}', '{}', '{"retention": 10}', '{}', ''
         from deployments, generate_series(1, 6) n where id = $1`,
      [body.id],
    )
    expect(await listOverRetention(api.database)).toEqual([])
    await api.call('PUT', '/v1/projects/thrifty/limits', { retention: 3 })
    expect(await listOverRetention(api.database)).toMatchObject([{ retention: 3 }])
    await api.call('PUT', '/v1/projects/thrifty/limits', { retention: 50 })
    expect(await listOverRetention(api.database)).toEqual([])
  })

  test('I12: lines of the audit log and ended tokens go when they are old', async () => {
    const counts = async () =>
      api.database.query(`select (select count(*) from audit_log) as lines, (select count(*) from tokens) as tokens`)
    await newToken({ role: 'viewer', expiresInSeconds: 1 }).then(({ id }) => api.call('DELETE', `/v1/tokens/${id}`))
    const [before] = await counts()
    await deleteOldAudit(api.database, 3_600_000)
    await deleteEndedTokens(api.database, 3_600_000)
    expect(await counts()).toEqual([before])
    await api.database.query(`update audit_log set at = at - interval '2 hours' where action = 'token.revoke'`)
    await api.database.query(`update tokens set revoked_at = revoked_at - interval '2 hours' where revoked_at is not null`)
    await deleteOldAudit(api.database, 3_600_000)
    await deleteEndedTokens(api.database, 3_600_000)
    expect(await api.database.query(`select 1 from audit_log where action = 'token.revoke'`)).toEqual([])
    expect(await api.database.query('select 1 from tokens where revoked_at is not null')).toEqual([])
    expect((await api.call('GET', '/v1/tokens')).status).toBe(200)
  })

  test('one is deleted by its name given twice, and only when nothing runs', async () => {
    await made('/v1/projects', { name: 'gone' })
    const { body } = await api.call('POST', '/v1/deployments', { ...deploy, project: 'gone' })
    expect((await api.call('DELETE', '/v1/projects/gone?confirm=shop')).status).toBe(400)
    const running = await api.call('DELETE', '/v1/projects/gone?confirm=gone')
    expect(running.body).toMatchObject({ status: 409, detail: 'project gone still runs web@production' })
    await api.call('POST', `/v1/deployments/${body.id}/cancel`)
    expect((await api.call('DELETE', '/v1/projects/gone?confirm=gone')).status).toBe(204)
    expect((await api.call('GET', '/v1/projects/gone')).status).toBe(404)
    expect((await api.call('GET', '/v1/audit?project=gone&action=project.delete')).body.items).toHaveLength(1)
  })

  test('a project of the same name sees nothing of what was said of the earlier one', async () => {
    await made('/v1/projects', { name: 'again' })
    await api.call('DELETE', '/v1/projects/again?confirm=again')
    await made('/v1/projects', { name: 'again' })
    const owner = await newToken({ project: 'again', role: 'owner' })
    const actions = (await as(owner.token, 'GET', '/v1/audit')).body.items.map((entry: AuditEntry) => entry.action)
    expect(actions).toEqual(['token.create', 'project.create'])
  })

  test('host names of two projects never meet', async () => {
    for (const names of [
      { project: 'meet', service: 'api' },
      { project: 'default', service: 'api-meet' },
    ]) {
      expect((await api.call('POST', '/v1/deployments', { ...deploy, ...names })).status).toBe(202)
    }
    const { items } = (await api.call('GET', '/v1/services')).body
    const hosts = items.filter((item: { service: string }) => item.service.startsWith('api')).map((item: { host: string }) => item.host)
    expect(new Set(hosts).size).toBe(hosts.length)
  })
})

describe('the audit log', () => {
  test('I8: every change leaves who, from where and what; no value of a variable', async () => {
    const owner = await newToken({ role: 'owner', name: 'auditor' })
    await as(owner.token, 'PUT', '/v1/variables', { environment: 'staging', secret: true, variables: { KEY: 'hunter2-hunter2' } })
    await as(owner.token, 'PUT', '/v1/environments/staging', { branch: 'next' })
    await as(owner.token, 'DELETE', '/v1/variables/KEY?environment=staging')
    const { items } = (await as(owner.token, 'GET', '/v1/audit?limit=3')).body
    expect(items.map((item: unknown) => AuditEntry.parse(item))).toMatchObject([
      { action: 'variable.unset', actor: 'auditor', address: '127.0.0.1', project: 'shop', environment: 'staging', data: { name: 'KEY' } },
      { action: 'environment.change', target: 'staging', data: { branch: 'next' } },
      { action: 'variable.set', tokenId: owner.id, data: { names: ['KEY'], secret: true } },
    ])
    expect(JSON.stringify(await api.database.query('select data from audit_log'))).not.toContain('hunter2')
  })

  test('what was refused is no change', async () => {
    const count = async () => (await api.database.query('select 1 from audit_log')).length
    const before = await count()
    expect((await api.call('POST', '/v1/projects', { name: 'shop' })).status).toBe(409)
    expect((await api.call('DELETE', '/v1/variables/NONE?project=shop')).status).toBe(404)
    expect(await count()).toBe(before)
  })

  test('is read by pages, newest first, by kind, and by owners only', async () => {
    const seen: number[] = []
    for (let cursor = ''; ; ) {
      const page = (await api.call('GET', `/v1/audit?action=token&limit=4${cursor}`)).body
      seen.push(...page.items.map((entry: AuditEntry) => entry.position))
      if (page.next === null) break
      cursor = `&cursor=${page.next}`
    }
    expect(seen).toEqual([...new Set(seen)].sort((a, b) => b - a))
    expect(seen.length).toBeGreaterThan(8)
    const developer = await newToken({ role: 'developer' })
    expect((await as(developer.token, 'GET', '/v1/audit')).status).toBe(403)
  })
})

describe('rate limits', () => {
  test('are told with every answer, and kept; an address that guesses does not lock out a good token', async () => {
    const small = await startApi({ ratesPerMinute: { perToken: 30, anonymous: 5, failures: 5 }, trustedProxies: ['127.0.0.1'] })
    try {
      const from = (address: string, token = small.token) =>
        small.call('GET', '/v1/queue', undefined, { authorization: `Bearer ${token}`, 'x-forwarded-for': address })
      const first = await from('203.0.113.1')
      expect(first.headers.get('ratelimit-policy')).toBe('"token";q=30;w=60')
      expect(first.headers.get('ratelimit')).toMatch(/^"token";r=29;t=\d+$/)
      for (let count = 0; count < 5; count++) expect((await from('203.0.113.1', 'slk_guess')).status).toBe(401)
      const guessed = await from('203.0.113.1', 'slk_guess')
      expect(Problem.parse(guessed.body).code).toBe('RATE_LIMITED')
      expect(Number(guessed.headers.get('retry-after'))).toBeGreaterThan(0)
      expect((await from('203.0.113.1')).status).toBe(200)
      expect((await from('203.0.113.2', 'slk_guess')).status).toBe(401)
      const statuses = []
      for (let count = 0; count < 40; count++) statuses.push((await from(`203.0.113.${count}`)).status)
      expect(statuses.slice(0, 20).every((status) => status === 200)).toBe(true)
      expect(statuses.at(-1)).toBe(429)
      const documents = []
      for (let count = 0; count < 8; count++) documents.push((await fetch(`${small.url}/openapi.json`)).status)
      expect(documents.slice(0, 5)).toEqual([200, 200, 200, 200, 200])
      expect(documents).toContain(429)
    } finally {
      await small.stop()
    }
  })
})
