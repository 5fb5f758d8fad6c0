import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { dockerdMissing, sharedDockerd, type TestDockerd } from '../support/dockerd.ts'
import { eventually } from '../support/eventually.ts'
import { StoryWorld } from '../support/story-world.ts'

const missing = dockerdMissing()
const LONG = 240_000
let dockerd: TestDockerd
let world: StoryWorld

beforeAll(async () => {
  if (missing !== null) return
  dockerd = await sharedDockerd()
  world = await StoryWorld.begin({}, dockerd)
}, LONG)
afterAll(() => StoryWorld.endAll())
beforeEach((context) => context.skip(missing !== null, missing ?? ''))

test(
  'I13: a container that writes more than its limit is stopped with its reason, and comes back without what it wrote',
  async () => {
    const repo = world.repo('greedy')
    repo.commit('v1', {}, { run: { diskMb: 64 } })
    const { id } = await world.server.deployed({ service: 'greedy', source: repo.source })
    const title = 'label=shiplock.title=default/production/greedy'
    const container = () => dockerd.dockerText('ps', '-q', '--filter', title, '--filter', 'label=shiplock.kind=instance')
    const first = await container()
    await dockerd.dockerText('exec', first, 'sh', '-c', 'head -c 100000000 /dev/zero > /tmp/fill')
    const stopped = await eventually(
      async () => (await world.server.events(id)).find((event) => event.type === 'instance.disk_limit') ?? false,
      { withinMs: 60_000 },
    )
    expect(stopped.message).toMatch(/uses .* MiB on disk, its limit is 64 MiB/)
    await eventually(async () => expect((await world.server.ask('greedy', '/')).status).toBe(200), { withinMs: 60_000 })
    const second = await container()
    expect(second).not.toBe(first)
    expect(await dockerd.dockerText('exec', second, 'sh', '-c', 'ls /tmp')).not.toContain('fill')
    const exits = (await world.server.events(id)).filter((event) => event.type === 'instance.exited').map((event) => event.message)
    expect(exits.join()).toContain('its limit is 64 MiB')
  },
  LONG,
)
