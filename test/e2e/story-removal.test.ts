import { afterAll, beforeAll, expect, test } from 'vitest'
import { type CliResult, runCli } from '../support/cli.ts'
import { eventually } from '../support/eventually.ts'
import type { LoadClient } from '../support/load-client.ts'
import type { StoryRepo } from '../support/story-repo.ts'
import { StoryWorld } from '../support/story-world.ts'

/** How things end, told from the outside, with a neighbour under load that must not notice. */
let world: StoryWorld
let load: LoadClient
let pier: StoryRepo

beforeAll(async () => {
  world = await StoryWorld.begin()
  await world.serving('neighbour')
  load = await world.load('neighbour')
})
afterAll(() => StoryWorld.endAll())

const cli = (...args: string[]): Promise<CliResult> =>
  runCli({ dataDirectory: world.server.dataDirectory, apiPort: 1, edgePort: world.server.edgePort }, args, {
    env: { SHIPLOCK_URL: world.server.apiUrl, SHIPLOCK_TOKEN: world.server.token },
  })
const isServed = (service: string) =>
  world.server.ask(service, '/').then(
    (answer) => answer.status === 200,
    () => false,
  )

test('a service is removed with two releases and a standby; its host answers no more, and it may come again', async () => {
  pier = await world.serving('pier')
  pier.commit('v2')
  await world.server.deployed({ service: 'pier', source: pier.source })
  expect((await cli('service', 'remove', 'pier')).stderr).toContain('--yes')
  const done = await cli('service', 'remove', 'pier', '--yes')
  expect(done.code, done.stderr).toBe(0)
  expect(done.stdout).toContain('pier is gone from production')
  expect(await isServed('pier')).toBe(false)
  expect((await cli('status', 'pier')).code).not.toBe(0)
  expect((await cli('service', 'remove', 'pier', '--yes')).stderr).toContain('no service pier')
  await world.server.deployed({ service: 'pier', source: pier.source })
  expect((await world.server.ask('pier', '/')).version).toBe('v2')
})

test.each(['removal.route-gone-not-recorded', 'removal.stopped-not-recorded', 'removal.recorded'] as const)(
  'I5: kill -9 at %s: the next start ends the removal',
  async (point) => {
    if (!(await isServed('pier'))) await world.server.deployed({ service: 'pier', source: pier.source })
    await world.server.kill9()
    await world.server.start({ SHIPLOCK_CRASH_AT: point })
    expect((await cli('service', 'remove', 'pier', '--yes', '--detach')).code).toBe(0)
    await world.server.untilExit()
    await world.server.start()
    const services = async () => (await world.server.call('GET', '/v1/services')).items.map((one: { service: string }) => one.service)
    await eventually(async () => expect(await services()).toEqual(['neighbour']), { withinMs: 30_000 })
    expect(await isServed('pier')).toBe(false)
  },
)

test('an environment goes with what is under way in it, and then its project', async () => {
  expect((await cli('project', 'create', 'dock')).code).toBe(0)
  const repo = world.repo('crane')
  repo.commit('v1', { neverReady: true })
  const { id } = await world.server.deploy({ project: 'dock', environment: 'staging', service: 'crane', source: repo.source })
  await world.server.waitFor(id, (deployment) => deployment.stage === 'verify')
  expect((await cli('environment', 'delete', 'staging', '-p', 'dock')).stderr).toContain('--confirm staging')
  const refused = await cli('environment', 'delete', 'staging', '-p', 'dock', '--confirm', 'staging')
  expect(refused.stderr).toContain('--cancel')
  const done = await cli('environment', 'delete', 'staging', '-p', 'dock', '--confirm', 'staging', '--cancel')
  expect(done.code, done.stderr).toBe(0)
  expect((await cli('project', 'delete', 'dock', '--yes')).code).toBe(0)
  expect(load.failures).toEqual([])
  const said = (await cli('audit')).stdout
  expect(said).toContain('service.remove')
  expect(said).toContain('environment.remove')
})
