// biome-ignore-all lint/suspicious/noTemplateCurlyInString: references look like template placeholders
import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { runCli } from '../support/cli.ts'
import { StoryWorld } from '../support/story-world.ts'

/** What a user of such a platform brings: a Node project with its zerops.yml, and nothing of ours. */
const SERVICE = 'app'
const SECRETS = ['first-password-of-all', 'second-password-of-all', 'a-token-that-is-gone-later']
const APP = join(import.meta.dirname, '../support/apps/story-app.mjs')

let world: StoryWorld
beforeAll(async () => {
  world = await StoryWorld.begin()
})
afterAll(() => StoryWorld.endAll())

function zerops(env: Readonly<Record<string, string>> = {}) {
  return stringify({
    zerops: [
      {
        setup: SERVICE,
        build: {
          base: 'nodejs@20',
          buildCommands: ['mkdir -p dist', 'cp app.mjs behaviour.json dist/'],
          deployFiles: ['dist/~'],
          cache: ['node_modules'],
        },
        deploy: { readinessCheck: { httpGet: { path: '/ready' }, failureTimeout: 5, retryPeriod: 1 } },
        run: {
          base: 'nodejs@20',
          start: 'node app.mjs',
          envVariables: { GREETING: 'hello', DATABASE: 'postgres://app:${DB_PASSWORD}@db', ...env },
        },
      },
    ],
  })
}

const envOf = async () => JSON.parse((await world.server.ask(SERVICE, '/env')).body) as Record<string, string>
const cli = (...args: string[]) => {
  const { server } = world
  const place = { dataDirectory: server.dataDirectory, apiPort: 0, edgePort: server.edgePort }
  return runCli(place, args, { env: { SHIPLOCK_URL: server.apiUrl, SHIPLOCK_TOKEN: server.token } })
}

test('an unchanged zerops.yml project is deployed, broken and rolled back, and the log says why each thing happened', async () => {
  const { server } = world
  const repo = world.repo(SERVICE)
  copyFileSync(APP, join(world.directory, SERVICE, 'app.mjs'))
  const commit = (version: string, behaviour: object, file: string) =>
    repo.commitFiles(version, { 'behaviour.json': JSON.stringify({ version, ...behaviour }), 'zerops.yml': file })
  const secret = (variables: object) => server.call('PUT', '/v1/variables', { service: SERVICE, secret: true, variables })
  const deploy = async () => {
    const { id } = await server.deploy({ service: SERVICE, source: repo.source })
    return server.settled(id)
  }
  await secret({ DB_PASSWORD: SECRETS[0], OLD_TOKEN: SECRETS[2] })
  commit('v1', {}, zerops())
  const first = await deploy()
  expect(first.status, JSON.stringify(first.error)).toBe('running')
  const before = await envOf()
  expect(before).toMatchObject({ DATABASE: `postgres://app:${SECRETS[0]}@db`, OLD_TOKEN: SECRETS[2] })

  commit('v2', { neverReady: true }, zerops())
  const broken = await deploy()
  expect(broken).toMatchObject({ status: 'failed', error: { code: 'NOT_READY' } })
  expect(broken.statusReason).toMatch(/not ready after 5 s: http:\S+\/ready gave HTTP 503/)
  expect(broken.error?.attempts.at(-1)).toMatchObject({ result: 'HTTP 503', body: expect.stringContaining('warming up') })
  expect(broken.error?.logTail.join('\n')).toContain('v2 listens on')
  const log = (await server.logLines(broken.id)).map((line) => line.text).join('\n')
  for (const said of [/configuration: zerops\.yml/, /\$ mkdir -p dist/, /verify failed: .*HTTP 503/, /failed: instance 0: not ready/])
    expect(log).toMatch(said)
  expect((await server.ask(SERVICE, '/')).body).toBe('v1')

  await secret({ DB_PASSWORD: SECRETS[1] })
  await server.call('DELETE', `/v1/variables/OLD_TOKEN?service=${SERVICE}`)
  commit('v3', {}, zerops({ GREETING: 'bonjour' }))
  // While it bakes, which takes 30 s in that dialect: a rollback ends that.
  const third = await server.deploy({ service: SERVICE, source: repo.source })
  await server.waitFor(third.id, (deployment) => deployment.stage === 'bake')
  const printed: string[] = []
  const said = async (...args: string[]) => {
    const { code, stdout, stderr } = await cli(...args)
    expect(code, stderr).toBe(0)
    printed.push(stdout, stderr)
    return stdout
  }

  const plan = await said('releases', 'diff', 'v1')
  expect(plan).toMatch(/WHAT DIFFERS +THEN \(v1\) +NOW \(v3\)/)
  expect(plan).toMatch(/~ variable GREETING +hello +bonjour/)
  expect(plan).toMatch(/~ variable DB_PASSWORD +\*{8} +\*{8}/)
  expect(plan).toMatch(/~ variable DATABASE +\*{8} +\*{8}/)
  expect(plan).toMatch(/\+ variable OLD_TOKEN +\*{8} +–/)
  expect(await said('releases', '--pin', 'v1')).toMatch(/v1 +(kept|standby), pinned/)

  // No terminal, so nobody is asked.
  expect(await said('rollback', 'v1')).toContain('THEN (v1)')
  // Two of Shiplock's own speak of the deployment at hand.
  const { SHIPLOCK_DEPLOYMENT: _then, SHIPLOCK_LABELS: _thenLabels, ...rest } = before
  const { SHIPLOCK_DEPLOYMENT: _now, SHIPLOCK_LABELS: _nowLabels, ...now } = await envOf()
  expect(now, 'I7: variables as sealed').toEqual(rest)
  const live = (await server.service(SERVICE)).liveDeployment
  expect(live).toMatchObject({ kind: 'rollback', release: 1, status: 'running' })
  expect(await said('releases')).toMatch(/v1 +live, pinned +\S+ v1 +\S/)
  await said('rollback', 'v3', '--plan')
  await said('events', '--service', SERVICE)
  await said('logs', broken.id)
  const all = `${printed.join('\n')}${JSON.stringify(await server.events())}${server.log()}`
  for (const value of SECRETS) expect(all, 'I8').not.toContain(value)
})

test('I8: a secret that only an old release knows is hidden in what a rollback to it prints', async () => {
  const { server } = world
  const repo = world.repo('old')
  const value = 'rotated-long-ago-secret'
  await server.call('PUT', '/v1/variables', { service: 'old', secret: true, variables: { OLD_KEY: value } })
  repo.commit('v1', {}, { run: { initCommands: ['echo the key is $OLD_KEY; exit 1'] } })
  await server.deployed({ service: 'old', source: repo.source })
  await server.call('DELETE', '/v1/variables/OLD_KEY?service=old')
  repo.commit('v2')
  await server.deployed({ service: 'old', source: repo.source })
  const { id } = await server.rollback({ service: 'old', release: 1 })
  await server.settled(id)
  const log = (await server.logLines(id)).map((line) => line.text)
  expect(log).toContain('the key is ********')
  expect(JSON.stringify([log, await server.events(id), await server.deployment(id)])).not.toContain(value)
})
