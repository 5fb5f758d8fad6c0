import { mkdtempSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { removeTree } from '../../src/core/remove-tree.ts'
import { Collector } from '../support/collector.ts'
import { LoadClient } from '../support/load-client.ts'
import { disposeServers, startTestServer, type TestServer } from '../support/server.ts'
import { StoryRepo } from '../support/story-repo.ts'

let server: TestServer
let collector: Collector
const repos = mkdtempSync('/tmp/sl-repos-')

beforeAll(async () => {
  collector = await Collector.start()
  server = await startTestServer()
})
afterAll(async () => {
  await disposeServers()
  await collector.stop()
  await removeTree(repos)
})

test('I3: twenty deployments under constant load of every kind lose nothing', async () => {
  const repo = new StoryRepo(join(repos, 'swap'), 'swap', collector.env)
  repo.commit('v1')
  await server.deployed({ service: 'swap', source: repo.source })
  const load = new LoadClient({ port: server.edgePort, host: 'swap.localhost' })
  await load.sees('v1')
  for (let number = 2; number <= 21; number++) {
    repo.commit(`v${number}`)
    const { id } = await server.deploy({ service: 'swap', source: repo.source })
    const running = await server.waitFor(id, (deployment) => deployment.status === 'running' || deployment.settled)
    expect(running.error).toBeNull()
    load.forbidden.add(`v${number - 1}`)
    await load.sees(`v${number}`)
    const settled = await server.settled(id)
    expect(settled.receipt?.failures).toBe(0)
    expect(settled.receipt?.requests).toBeGreaterThan(0)
  }
  await load.stop()
  expect(load.failures).toEqual([])
  expect(load.connectionsClosed.unannounced).toBe(0)
  expect([...load.versions.keys()].sort()).toEqual(Array.from({ length: 21 }, (_, index) => `v${index + 1}`).sort())
  expect(collector.breaches).toEqual([])
  console.log({ requests: load.requests, longestMs: load.longestMs, ends: load.announcedEnds })
})
