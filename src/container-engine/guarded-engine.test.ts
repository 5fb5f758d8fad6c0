import { describe, expect, test } from 'vitest'
import { createHostGuard } from '../core/host-guard.ts'
import type { ContainerEngine } from './engine.ts'
import { guardRegistries } from './guarded-engine.ts'

function fixture() {
  const calls: string[] = []
  const engine: ContainerEngine = {
    address: 'unix:///x',
    isLocal: true,
    isReachable: true,
    version: async () => ({ name: 'x', api: '1.41', os: 'linux', arch: 'amd64' }),
    json: async <Answer>(_method: string, path: string) => {
      calls.push(path)
      return {} as Answer
    },
    stream: async (_method, path) => {
      calls.push(path)
      return { status: 200, headers: {}, body: (async function* () {})() }
    },
    close: async () => {},
  }
  const names: Readonly<Record<string, string[]>> = {
    'registry.example': ['93.184.216.34'],
    'inside.example': ['127.0.0.1'],
    localhost: ['127.0.0.1', '::1'],
  }
  const hosts = createHostGuard({ reach: 'private', allowed: [] }, async (name) => names[name] ?? [])
  return { calls, guarded: guardRegistries(engine, hosts, ['localhost:5000']) }
}

describe('I13: an engine that members send to registries', () => {
  test.each(['127.0.0.1:5000/app', 'localhost/app', 'localhost:5001/app', 'inside.example/app', '[::1]:5000/app', '169.254.169.254/app'])(
    'is not sent to %s',
    async (name) => {
      const { calls, guarded } = fixture()
      await expect(guarded.json('GET', `/distribution/${name}:latest/json`)).rejects.toMatchObject({ code: 'SOURCE_REFUSED' })
      await expect(guarded.stream('POST', '/images/create', { query: { fromImage: name, tag: 'latest' } })).rejects.toMatchObject({
        code: 'SOURCE_REFUSED',
      })
      await expect(guarded.stream('POST', `/images/${name}/push`)).rejects.toMatchObject({ code: 'SOURCE_REFUSED' })
      expect(calls).toEqual([])
    },
  )

  test.each(['registry.example/team/app', 'node', 'library/node', 'docker.io/library/node', 'localhost:5000/app', '10.1.2.3:5000/app'])(
    'is sent to %s',
    async (name) => {
      const { calls, guarded } = fixture()
      await guarded.json('GET', `/distribution/${name}:latest/json`)
      await guarded.stream('POST', '/images/create', { query: { fromImage: name, tag: 'latest' } })
      expect(calls).toHaveLength(2)
    },
  )

  test('is asked everything else as it is', async () => {
    const { calls, guarded } = fixture()
    await guarded.json('GET', '/images/127.0.0.1:5000/app/json')
    await guarded.json('GET', '/containers/json')
    expect(calls).toHaveLength(2)
  })
})
