import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { dockerdMissing, sharedDockerd, type TestDockerd } from '../support/dockerd.ts'
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

const PREPARED = {
  build: { prepareCommands: ['echo tool > /tool'], buildCommands: ['cp /tool built.txt; id -u > user.txt'] },
  run: { prepareCommands: ['echo layer > /layer && echo home > "$HOME/prepared"'] },
}
/** Runs a command in the one running instance of a service. */
async function inside(service: string, ...argv: string[]): Promise<string> {
  const title = `label=shiplock.title=default/production/${service}`
  const container = await dockerd.dockerText('ps', '-q', '--filter', title, '--filter', 'label=shiplock.kind=instance')
  return dockerd.dockerText('exec', container, ...argv)
}
const log = async (id: string) => (await world.server.logLines(id)).map(({ text }) => text).join('\n')

describe('recipes where everything runs in containers', () => {
  test(
    'base, runtime layer and tree become one image, whose instances run as a user of their project',
    async () => {
      const repo = world.repo('shop')
      repo.commit('v1', {}, PREPARED)
      const { id } = await world.server.deployed({ service: 'shop', source: repo.source })
      expect(await world.server.ask('shop', '/')).toMatchObject({ status: 200, version: 'v1' })
      expect(await log(id)).toMatch(/base debian: shiplock-test\/node:20[\s\S]*base layer: \d+ files kept[\s\S]*put together, sha256:/)
      expect(await inside('shop', 'cat', '/var/www/built.txt', '/layer', '/home/shiplock/prepared')).toBe('tool\nlayer\nhome')
      const user = await inside('shop', 'id', '-u')
      expect(Number(user)).toBeGreaterThan(100_000)
      expect(await inside('shop', 'cat', '/var/www/user.txt')).toBe(user)
      expect(await inside('shop', 'sh', '-c', 'touch /var/www/mine && echo written')).toBe('written')
    },
    LONG,
  )

  test(
    'a second version finds the system of prepareCommands, an unchanged one finds its whole image; rollback gives back the first (I7)',
    async () => {
      const repo = world.repo('news')
      repo.commit('v1', {}, PREPARED)
      const first = await world.server.deployed({ service: 'news', source: repo.source })
      repo.commit('v2', {}, PREPARED)
      const second = await world.server.deployed({ service: 'news', source: repo.source })
      expect(await log(second.id)).toMatch(/base layer: hit[\s\S]*runtime layer: hit/)
      expect(await world.server.ask('news', '/')).toMatchObject({ version: 'v2' })
      const again = await world.server.deployed({ service: 'news', source: repo.source })
      expect(await log(again.id)).toMatch(/runtime layer: hit[\s\S]*image of the artifact: hit/)
      expect(await log(again.id)).not.toContain('command:')
      const { id } = await world.server.rollback({ service: 'news', release: first.release ?? 0 })
      expect(await world.server.settled(id)).toMatchObject({ status: 'running' })
      expect(await world.server.ask('news', '/')).toMatchObject({ version: 'v1' })
      expect(await dockerd.dockerText('ps', '-aq', '--filter', `name=build-${second.id}`)).toBe('')
    },
    LONG,
  )

  test(
    'I5: a server that is killed in the middle of a build leaves no container of it behind once it is back',
    async () => {
      const repo = world.repo('slow')
      repo.commit('v1', {}, { build: { buildCommands: ['echo building; sleep 5; echo built > built.txt'] } })
      const { id } = await world.server.deploy({ service: 'slow', source: repo.source })
      await world.server.waitFor(id, ({ stage }) => stage === 'build')
      await world.server.kill9()
      await world.server.start()
      expect(await world.server.settled(id, LONG)).toMatchObject({ status: 'running' })
      expect(await dockerd.dockerText('ps', '-aq', '--filter', `name=build-${id}`)).toBe('')
    },
    LONG,
  )

  test(
    'a failing command, a base that nobody knows and a second base are refused, each in its words',
    async () => {
      const repo = world.repo('odd')
      const failed = async (build: Record<string, unknown>) => {
        repo.commit(`odd ${JSON.stringify(build)}`, {}, { build })
        const { id } = await world.server.deploy({ service: 'odd', source: repo.source })
        return world.server.settled(id, LONG)
      }
      expect(await failed({ buildCommands: ['no-such-program'] })).toMatchObject({
        status: 'failed',
        error: { code: 'BUILD_FAILED', message: expect.stringContaining('the command no-such-program is not there') },
      })
      expect(await failed({ base: ['cobol@85'] })).toMatchObject({ error: { code: 'BASE_UNAVAILABLE' } })
      expect(await failed({ base: ['nodejs@99'], buildCommands: ['true'] })).toMatchObject({
        error: { code: 'BASE_UNAVAILABLE', message: expect.stringContaining('docker.io/library/node:99') },
      })
      expect(await failed({ base: ['nodejs', 'python'], buildCommands: ['true'] })).toMatchObject({
        error: { code: 'BASE_UNAVAILABLE', message: expect.stringContaining('there is one base') },
      })
    },
    LONG,
  )
})
