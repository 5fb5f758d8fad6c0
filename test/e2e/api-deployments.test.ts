import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Deployment } from '../../src/contract/deployment.ts'
import { type ApiFixture, startApi } from '../support/api-fixture.ts'

let api: ApiFixture
beforeAll(async () => {
  api = await startApi()
})
afterAll(() => api.stop())

const git = { kind: 'git', url: 'https://example.com/app.git', ref: 'main' }

describe('deployments', () => {
  test('a deployment is queued with its names, place in the queue and URL', async () => {
    const { status, body } = await api.call('POST', '/v1/deployments', { service: 'web', source: git })
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
})
