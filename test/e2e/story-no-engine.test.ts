import { afterAll, expect, test } from 'vitest'
import { StoryWorld } from '../support/story-world.ts'

afterAll(() => StoryWorld.endAll())

test('SHIPLOCK_RUNTIME=docker without an engine: the checks say so, and nothing is run as a process instead', {
  timeout: 180_000,
}, async () => {
  const world = await StoryWorld.begin({ env: { SHIPLOCK_RUNTIME: 'docker', SHIPLOCK_CONTAINER_ENGINE: 'unix:///run/no-such.sock' } })
  const { server } = world
  const { checks } = await server.call('GET', '/v1/server')
  const named = (name: string) => checks.find((check: { name: string }) => check.name === name)
  expect(named('runtime')).toMatchObject({ status: 'failed' })
  expect(named('container engine')).toMatchObject({
    status: 'failed',
    summary: expect.stringContaining('/run/no-such.sock'),
    hint: expect.stringContaining('Nothing is deployed without it'),
  })
  const repo = world.repo('shop')
  repo.commit('v1')
  const { id } = await server.deploy({ service: 'shop', source: repo.source })
  const { status, error } = await server.settled(id, 120_000)
  expect({ status, code: error?.code, hint: error?.hint }).toEqual({
    status: 'failed',
    code: 'ENGINE_UNREACHABLE',
    hint: expect.stringContaining('SHIPLOCK_CONTAINER_ENGINE'),
  })
  expect(world.collector.of('started')).toEqual([])
})
