import { afterAll, beforeAll, expect, test } from 'vitest'
import { type ApiFixture, startApi } from '../support/api-fixture.ts'

let api: ApiFixture
beforeAll(async () => {
  api = await startApi()
})
afterAll(() => api.stop())

const SOURCE = { kind: 'git', url: 'https://example.com/app.git', ref: 'main' }
const deploy = (body: object = {}) => api.call('POST', '/v1/deployments', { service: 'web', source: SOURCE, ...body })

test('a freeze refuses deployments that do not override it, keeps the reason of those that do, and says so everywhere', async () => {
  const before = await deploy()
  expect(before.status).toBe(202)
  const made = await api.call('POST', '/v1/freezes', { environment: 'production', reason: 'holidays', forMs: 3_600_000 })
  expect(made).toMatchObject({ status: 201, body: { environment: 'production', reason: 'holidays', createdBy: 'admin' } })
  expect(Date.parse(made.body.until) - Date.parse(made.body.createdAt)).toBe(3_600_000)
  expect((await api.call('GET', '/v1/freezes')).body.items).toEqual([made.body])

  const refused = await deploy()
  expect(refused).toMatchObject({ status: 409, body: { code: 'FROZEN' } })
  expect(refused.body.detail).toContain('holidays')
  expect(refused.body.hint).toContain('--override-freeze')
  const [waiting] = (await api.call('GET', '/v1/queue')).body.items
  expect(waiting).toMatchObject({
    id: before.body.id,
    cause: 'freeze',
    since: made.body.createdAt,
    next: expect.stringContaining('unfreeze production'),
  })

  const hotfix = await deploy({ options: { overrideFreeze: 'the shop is down' } })
  expect(hotfix.status).toBe(202)
  const why = await api.call('GET', `/v1/deployments/${hotfix.body.id}/why`)
  expect(why.body.facts.map((fact: { text: string }) => fact.text)).toEqual(
    expect.arrayContaining([
      'it did not wait for the end of the freeze: the shop is down',
      `it took the place of ${before.body.id} in the queue`,
    ]),
  )
  const absorbed = await api.call('GET', `/v1/deployments/${before.body.id}/why`)
  expect(absorbed.body).toMatchObject({ status: 'superseded', next: expect.stringContaining(`shiplock why ${hotfix.body.id}`) })

  expect((await api.call('DELETE', '/v1/freezes?environment=production')).body).toEqual({ lifted: true })
  expect((await api.call('DELETE', '/v1/freezes?environment=production')).body).toEqual({ lifted: false })
  expect((await deploy({ options: { overrideFreeze: 'nothing is frozen' } })).status).toBe(202)
  const events = await api.call('GET', '/v1/events?type=environment.frozen,environment.unfrozen&after=0')
  expect(events.body.items.map((event: { type: string }) => event.type)).toEqual(['environment.frozen', 'environment.unfrozen'])
})

test.each([
  ['a time that is past', { environment: 'production', reason: 'r', until: '2020-01-01T00:00:00Z' }, 400],
  ['both an end and a length', { environment: 'production', reason: 'r', until: '2099-01-01T00:00:00Z', forMs: 5000 }, 400],
  ['no reason', { environment: 'production', reason: '  ' }, 400],
  ['control characters', { environment: 'production', reason: 'a\u001b[2Jb' }, 400],
  ['an environment that does not exist', { environment: 'nowhere', reason: 'r' }, 404],
  ['a project that does not exist', { project: 'nobody', reason: 'r' }, 404],
])('I9: a freeze is refused for %s', async (_, body, status) => {
  expect((await api.call('POST', '/v1/freezes', body)).status).toBe(status)
})

test('a freeze of the whole project holds each of its environments and is lifted as a whole', async () => {
  expect((await api.call('POST', '/v1/freezes', { reason: 'audit' })).status).toBe(201)
  expect((await deploy({ environment: 'staging' })).body.code).toBe('FROZEN')
  expect((await api.call('DELETE', '/v1/freezes?environment=production')).body).toEqual({ lifted: false })
  expect((await api.call('DELETE', '/v1/freezes')).body).toEqual({ lifted: true })
  expect((await deploy({ environment: 'staging' })).status).toBe(202)
})

test('why of what does not exist is 404', async () => {
  expect((await api.call('GET', '/v1/deployments/dep_nothing/why')).status).toBe(404)
})
