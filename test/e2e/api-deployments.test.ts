import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Deployment } from '../../src/contract/deployment.ts'
import { Release } from '../../src/contract/release.ts'
import { ROUTES } from '../../src/contract/routes.ts'
import { Service, ServiceDetail } from '../../src/contract/service.ts'
import { type ApiFixture, startApi } from '../support/api-fixture.ts'

let api: ApiFixture
beforeAll(async () => {
  api = await startApi()
})
afterAll(() => api.stop())

const git = { kind: 'git', url: 'https://example.com/app.git', ref: 'main' }
const deploy = (service: string, more: object = {}) => api.call('POST', '/v1/deployments', { service, source: git, ...more })

describe('deployments', () => {
  test('a deployment is queued with its names, place in the queue and URL', async () => {
    const { status, body } = await deploy('web')
    expect(status).toBe(202)
    expect(Deployment.parse(body)).toMatchObject({
      project: 'default',
      environment: 'production',
      service: 'web',
      kind: 'deploy',
      status: 'pending',
      settled: false,
      url: 'http://web.localhost:8080',
      source: git,
      trigger: { kind: 'api', actor: 'admin', note: null },
    })
    expect((await api.call('GET', `/v1/deployments/${body.id}`)).body).toEqual(body)
    const queue = await api.call('GET', '/v1/queue')
    expect(queue.body.items[0]).toMatchObject({ id: body.id, place: 1, waitsFor: 'about to start' })
  })

  test('without a source, a service is deployed from where it came last; a new one can’t be', async () => {
    await deploy('again')
    const again = await api.call('POST', '/v1/deployments', { service: 'again' })
    expect(again.body.source).toEqual(git)
    const unknown = await api.call('POST', '/v1/deployments', { service: 'never' })
    expect(unknown.status).toBe(400)
    expect(unknown.body.detail).toContain('body.source')
    expect((await api.call('GET', '/v1/services/never')).status).toBe(404)
  })

  test('I9: a source that could never be fetched is refused before anything is written', async () => {
    const { status, body } = await deploy('option', { source: { kind: 'git', url: '--upload-pack=x' } })
    expect(status).toBe(422)
    expect(body.code).toBe('SOURCE_REFUSED')
    expect((await api.call('GET', '/v1/services/option')).status).toBe(404)
  })

  test('I10: an upload is known to the project that it was sent to, and to no other', async () => {
    const response = await fetch(`${api.url}/v1/uploads?project=mine`, {
      method: 'POST',
      headers: { authorization: `Bearer ${api.token}`, 'content-type': 'application/x-tar' },
      body: 'not really a tar',
    })
    expect(response.status).toBe(201)
    const { digest, bytes } = (await response.json()) as { digest: string; bytes: number }
    expect(bytes).toBe(16)
    const source = { kind: 'upload', digest, label: 'here' }
    expect((await deploy('up', { project: 'mine', source })).status).toBe(202)
    const foreign = await deploy('up', { project: 'yours', source })
    expect(foreign.body.code).toBe('SOURCE_NOT_FOUND')
  })

  test('the same Idempotency-Key with the same request gives the same deployment, with another a conflict', async () => {
    const headers = { 'idempotency-key': randomUUID() }
    const body = { service: 'once', source: git }
    const answers = await Promise.all(Array.from({ length: 8 }, () => api.call('POST', '/v1/deployments', body, headers)))
    expect(new Set(answers.map((answer) => answer.status))).toEqual(new Set([202]))
    expect(new Set(answers.map((answer) => answer.body.id)).size).toBe(1)
    expect((await api.call('GET', '/v1/deployments?service=once')).body.items).toHaveLength(1)
    const other = await api.call('POST', '/v1/deployments', { ...body, service: 'twice' }, headers)
    expect(other.status).toBe(409)
    expect(other.body.code).toBe('CONFLICT')
    expect((await api.call('POST', '/v1/deployments', body, { 'idempotency-key': 'with space' })).status).toBe(400)
  })

  test('a refusal leaves no answer behind: the key is good for another try', async () => {
    const headers = { 'idempotency-key': randomUUID() }
    const body = { service: 'later' }
    expect((await api.call('POST', '/v1/deployments', body, headers)).status).toBe(400)
    await deploy('later')
    expect((await api.call('POST', '/v1/deployments', body, headers)).status).toBe(202)
  })

  test('pages run through the whole list without a gap or a double', async () => {
    for (let n = 0; n < 7; n++) await deploy('many')
    const seen: string[] = []
    for (let cursor: string | null = ''; cursor !== null; ) {
      const page: { items: { id: string }[]; next: string | null } = (
        await api.call('GET', `/v1/deployments?service=many&limit=3${cursor === '' ? '' : `&cursor=${cursor}`}`)
      ).body
      seen.push(...page.items.map((item) => item.id))
      cursor = page.next
    }
    expect(seen).toHaveLength(7)
    expect(new Set(seen).size).toBe(7)
  })

  test('a pending deployment is canceled at once, asking twice is success, an unknown one is not found', async () => {
    const { id } = (await deploy('cancel')).body
    expect((await api.call('POST', `/v1/deployments/${id}/cancel`)).body).toMatchObject({ status: 'canceled', settled: true })
    expect((await api.call('POST', `/v1/deployments/${id}/cancel`)).status).toBe(202)
    expect((await api.call('POST', '/v1/deployments/dep_none/cancel')).body.code).toBe('NOT_FOUND')
    const log = await api.call('GET', `/v1/events?deployment=${id}`)
    expect(log.body.items.map((event: { type: string }) => event.type)).toEqual(['deployment.queued', 'deployment.canceled'])
    expect(log.body.items.at(-1)).toMatchObject({ terminal: true, service: 'cancel', environment: 'production' })
  })
})

describe('releases and rollbacks', () => {
  /** A service with releases v1 … vN that have served; the last one is live. */
  async function serviceWith(service: string, releases: number): Promise<void> {
    for (let number = 1; number <= releases; number++) {
      const { id } = (await deploy(service)).body
      await api.database.query(
        `with r as (insert into releases (id, service_environment_id, number, deployment_id, revision, artifact, config, trigger, sealed_variables, first_live_at)
           select 'rel_' || $1, d.service_environment_id, $2, $1, '{"kind":"git","commit":"abc","message":"m","author":"a","ref":"main"}',
                  '{"kind":"tree","digest":"sha256:0","files":1,"bytes":2}', '{}', d.trigger, '', now() from deployments d where id = $1 returning id)
         update deployments set status = 'running', settled = true, settled_at = now(), release_id = (select id from r) where id = $1`,
        [id, number],
      )
      await api.database.query(
        `update deployments set status = 'superseded' where status = 'running' and id <> $1
            and service_environment_id = (select service_environment_id from deployments where id = $1)`,
        [id],
      )
      await api.database.query(
        'update service_environments set live_deployment_id = $1 where id = (select service_environment_id from deployments where id = $1)',
        [id],
      )
    }
  }

  test('a rollback without a number goes to the release before, and holds automatic deployments visibly', async () => {
    await serviceWith('back', 3)
    const plan = await api.call('GET', '/v1/services/back/rollback-plan')
    expect(plan.body).toMatchObject({ from: 3, to: 2, warm: false })
    const { status, body } = await api.call('POST', '/v1/rollbacks', { service: 'back' })
    expect(status).toBe(202)
    expect(Deployment.parse(body)).toMatchObject({ kind: 'rollback', release: 2, source: null, status: 'pending' })
    const service = ServiceDetail.parse((await api.call('GET', '/v1/services/back')).body)
    expect(service.hold).toMatchObject({ reason: 'rolled back to v2', by: 'admin' })
    expect(service.latestDeployment?.id).toBe(body.id)
    await deploy('back')
    expect(
      Service.parse((await api.call('GET', '/v1/services?')).body.items.find((item: Service) => item.service === 'back')).hold,
    ).toBeNull()
    const types = (await api.call('GET', '/v1/events?service=back&type=service.held,service.hold_released')).body.items
    expect(types.map((event: { type: string }) => event.type)).toEqual(['service.held', 'service.hold_released'])
  })

  test('a hold is released by hand; nothing to release is success', async () => {
    await serviceWith('hand', 2)
    await api.call('POST', '/v1/rollbacks', { service: 'hand', release: 1 })
    expect((await api.call('DELETE', '/v1/services/hand/hold')).body.hold).toBeNull()
    expect((await api.call('DELETE', '/v1/services/hand/hold')).status).toBe(200)
  })

  test('an unknown number is refused with what there is, and nothing is queued', async () => {
    await serviceWith('gone', 2)
    const { status, body } = await api.call('POST', '/v1/rollbacks', { service: 'gone', release: 9 })
    expect(status).toBe(409)
    expect(body).toMatchObject({ code: 'ROLLBACK_UNAVAILABLE', details: { kept: [1] } })
    expect((await api.call('GET', '/v1/services/gone')).body.hold).toBeNull()
  })

  test('releases are listed newest first, pinned and unpinned', async () => {
    await serviceWith('list', 3)
    const { body } = await api.call('GET', '/v1/services/list/releases')
    const releases = ROUTES.listReleases.response.parse(body).items
    expect(releases.map((release) => [release.number, release.live, release.lastStatus])).toEqual([
      [3, true, 'running'],
      [2, false, 'superseded'],
      [1, false, 'superseded'],
    ])
    expect(Release.parse((await api.call('PUT', '/v1/services/list/releases/1/pin')).body).pinned).toBe(true)
    expect((await api.call('DELETE', '/v1/services/list/releases/1/pin')).body.pinned).toBe(false)
    expect((await api.call('PUT', '/v1/services/list/releases/8/pin')).body.code).toBe('NOT_FOUND')
  })
})

describe('variables', () => {
  const list = async (query = '') => (await api.call('GET', `/v1/variables?project=vars${query}`)).body.items

  test('I8: values go in sealed and never come out', async () => {
    const set = await api.call('PUT', '/v1/variables', { project: 'vars', secret: true, variables: { TOKEN: 'hunter2-hunter2' } })
    expect(set.status).toBe(200)
    expect(JSON.stringify([set.body, await list()])).not.toContain('hunter2')
    const rows = await api.database.query(`select encode(sealed_value, 'escape') as value from variables where name = 'TOKEN'`)
    expect(JSON.stringify(rows)).not.toContain('hunter2')
    expect(ROUTES.listVariables.response.parse({ items: await list(), next: null }).items[0]).toMatchObject({
      name: 'TOKEN',
      project: 'vars',
      environment: null,
      service: null,
      secret: true,
    })
  })

  test('I8: plain values are shown where asked for, those of secrets never', async () => {
    await api.call('PUT', '/v1/variables', { project: 'shown', variables: { LEVEL: 'info ${X}' } })
    await api.call('PUT', '/v1/variables', { project: 'shown', secret: true, variables: { TOKEN: 'hunter2-hunter2' } })
    const { body } = await api.call('GET', '/v1/variable-values?project=shown')
    expect(body.items.map(({ name, value }: { name: string; value: string }) => [name, value])).toEqual([
      ['LEVEL', 'info ${X}'],
      ['TOKEN', null],
    ])
  })

  test('I12: more than a program can be started with is refused with its size, and nothing is set', async () => {
    const large = (from: number) => Object.fromEntries(Array.from({ length: 9 }, (_, n) => [`V${from + n}`, 'x'.repeat(60_000)]))
    expect((await api.call('PUT', '/v1/variables', { project: 'large', variables: large(0) })).status).toBe(200)
    const refused = await api.call('PUT', '/v1/variables', { project: 'large', variables: large(9) })
    expect([refused.body.code, JSON.stringify(refused.body)]).toEqual([
      'INPUT_INVALID',
      expect.stringContaining('would have 1.0 MiB together'),
    ])
    expect((await api.call('GET', '/v1/variables?project=large')).body.items).toHaveLength(9)
  })

  test('each scope is its own: set, shown and removed exactly there', async () => {
    const scope = { project: 'vars', environment: 'staging', service: 'api' }
    await api.call('PUT', '/v1/variables', { project: 'vars', variables: { LEVEL: 'info' } })
    await api.call('PUT', '/v1/variables', { ...scope, variables: { LEVEL: 'debug' } })
    expect((await list('&environment=staging&service=api')).filter((one: { name: string }) => one.name === 'LEVEL')).toHaveLength(2)
    expect((await list('&environment=production')).filter((one: { name: string }) => one.name === 'LEVEL')).toHaveLength(1)
    expect((await api.call('DELETE', '/v1/variables/LEVEL?project=vars&environment=staging')).status).toBe(404)
    expect((await api.call('DELETE', '/v1/variables/LEVEL?project=vars&environment=staging&service=api')).status).toBe(204)
    expect((await list()).filter((one: { name: string }) => one.name === 'LEVEL')).toHaveLength(1)
  })

  test.each(['PORT', 'SHIPLOCK_X', '1A', 'A-B', 'A B', '__proto__'])('%s is no name for a variable', async (name) => {
    const { status, body } = await api.call('PUT', '/v1/variables', `{"variables":{${JSON.stringify(name)}:"x"}}`)
    expect(status).toBe(400)
    expect(body.code).toBe('INPUT_INVALID')
  })
})
