import { createServer, type Server } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { eventually } from '../support/eventually.ts'
import { sandboxesOf } from '../support/leak-check.ts'
import type { Behaviour, StoryConfig } from '../support/story-repo.ts'
import { StoryWorld } from '../support/story-world.ts'

let world: StoryWorld
let silent: Server
beforeAll(async () => {
  // Takes connections and never says a word.
  silent = createServer(() => {})
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
  world = await StoryWorld.begin({ env: { MAX_CONCURRENT_BUILDS: '1' } })
})
afterAll(async () => {
  await StoryWorld.endAll()
  silent.close()
})

/** Deaf to SIGTERM, with a child that has left its group. */
const STUBBORN = "trap '' TERM; setsid sleep 1000 & while true; do sleep 1; done"

interface Case {
  readonly behaviour?: Behaviour
  readonly config?: StoryConfig
}
const CASES: Readonly<Record<string, Case>> = {
  build: { config: { build: { buildCommands: [STUBBORN] } } },
  'release-command': { config: { deploy: { releaseCommand: STUBBORN } } },
  launch: { config: { run: { initCommands: [STUBBORN] } } },
  verify: {
    behaviour: { neverReady: true, ignoreTerm: true },
    config: { deploy: { readinessCheck: { httpGet: { path: '/ready' }, failureTimeout: '60s' } } },
  },
}

const running = () => [...sandboxesOf(world.server.dataDirectory)].sort()

test.each(Object.keys(CASES))(
  'during %s: every process of it is dead before it is canceled, the slot is free, what is live serves',
  async (stage) => {
    const { behaviour = {}, config = {} } = CASES[stage] ?? {}
    const repo = await world.serving(`c-${stage}`)
    repo.commit('v2', behaviour, config)
    const before = running()
    const request = { service: `c-${stage}`, source: repo.source }
    const { id } = await world.server.deploy(request)
    await world.server.waitFor(id, (deployment) => deployment.stage === stage)
    await eventually(async () => expect(running()).not.toEqual(before), { withinMs: 20_000 })
    await world.server.call('POST', `/v1/deployments/${id}/cancel`)
    await world.server.waitFor(id, ({ status }) => status === 'canceled', 30_000)
    // Looked at in the moment in which it says so.
    expect(running()).toEqual(before)
    expect((await world.server.call('GET', '/v1/queue')).items).toEqual([])
    expect((await world.server.ask(request.service, '/')).body).toBe('v1')
    const why = await world.server.call('GET', `/v1/deployments/${id}/why`)
    expect(why.summary).toContain(`canceled it during ${stage}`)
    repo.commit('v3')
    await world.server.deployed(request)
  },
)

test('during fetch: a git that hangs on a silent host is ended', async () => {
  const { port } = silent.address() as { port: number }
  const source = { kind: 'git', url: `https://127.0.0.1:${port}/app.git`, ref: null }
  const { id } = await world.server.deploy({ service: 'c-fetch', source })
  const gits = () => world.server.processes().filter(({ command }) => command.includes(`127.0.0.1:${port}`))
  await eventually(async () => expect(gits()).not.toEqual([]), { withinMs: 20_000 })
  await world.server.call('POST', `/v1/deployments/${id}/cancel`)
  await world.server.waitFor(id, ({ status }) => status === 'canceled', 30_000)
  expect(gits()).toEqual([])
})
