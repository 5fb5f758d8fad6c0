import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Deployment } from '../../src/contract/deployment.ts'
import type { ServiceDetail } from '../../src/contract/service.ts'
import type { Delivery } from '../../src/contract/webhook.ts'
import { silentLogger } from '../../src/core/log.ts'
import { EmbeddedEdge } from '../../src/edge/embedded/embedded-edge.ts'
import { builtFile } from '../support/build.ts'
import { eventually } from '../support/eventually.ts'
import { formerVersion } from '../support/former-version.ts'
import { HookClient, pushOf } from '../support/hook-client.ts'
import type { LoadClient } from '../support/load-client.ts'
import { freePort } from '../support/server.ts'
import type { StoryRepo } from '../support/story-repo.ts'
import { StoryWorld } from '../support/story-world.ts'

/**
 * A server of an earlier version, with everything it can have, is upgraded under load to this one: killed, and this one started on its
 * data directory. Nothing is lost, and what this version promises holds afterwards.
 */
const FORMER = '58d947b'
const WITHIN = { withinMs: 60_000 }
/** Services by what is particular about them. */
const SERVICES = ['web', 'fixed', 'sealed', 'kept', 'site'] as const
type Name = (typeof SERVICES)[number]
const SECRET = 'sekrit-correct-horse'
// biome-ignore lint/suspicious/noTemplateCurlyInString: Shiplock's own way to refer to a variable
const REFERENCE = 'postgres://app:${TOP}@db/app'

let former: string
let world: StoryWorld
let web: StoryRepo
let kept: StoryRepo
let sealed: StoryRepo
let fixed: StoryRepo
let site: StoryRepo
let hook: HookClient
let stagingToken: string
let edgePid: number
let plainBefore: readonly string[]
let loads: readonly LoadClient[]
let underWay: Deployment
/** Instance by service, and the process of each. */
let before: Map<Name, string>

beforeAll(async () => {
  former = await formerVersion(FORMER)
  world = await StoryWorld.begin({ env: { SHIPLOCK_HEAD_CHECK: '1h' }, program: former })
  await furnish()
  edgePid = await edgePidNow()
  plainBefore = filesWithSecret()
  loads = await Promise.all((['web', 'kept', 'sealed'] as const).map((service) => world.load(service, { pauseMs: 20 })))
}, 300_000)
afterAll(() => StoryWorld.endAll())

const { deployed, rolledBack } = {
  deployed: (service: Name, repo: StoryRepo) => world.server.deployed({ service, source: repo.source }),
  rolledBack: async (service: Name, release: number) => {
    const { id } = await world.server.rollback({ service, release })
    return world.server.settled(id)
  },
}

/** A build with caches, and a layer that was prepared. Each build leaves a line in the cache. */
const KEPT = (more = '') => ({
  build: {
    cache: ['kept'],
    buildCommands: [`mkdir -p kept; date >> kept/builds; echo "builds: $(wc -l < kept/builds)"${more}`],
    prepareCommands: ['echo made > /tmp/x'],
  },
  run: { prepareCommands: ['echo prepared > prepared'] },
})
const WEB = {
  run: { instances: 2 },
  deploy: { standby: '1h' },
  trigger: { watch: ['app.mjs', 'behaviour.json'], queue: 'latest' },
}

/** Several instances, a fixed port, variables and secrets, a build with caches, a static site; releases to go back to. */
async function furnish(): Promise<void> {
  const { server } = world
  await server.call('PUT', '/v1/variables', { environment: 'production', service: 'sealed', variables: { TOP: SECRET }, secret: true })
  await server.call('PUT', '/v1/variables', { variables: { LEVEL: 'quiet' } })
  web = world.repo('web')
  web.commit('v1', {}, WEB)
  fixed = world.repo('fixed')
  const port = await freePort()
  fixed.commit('v1', { otherPort: port }, { run: { port }, deploy: { temporaryShutdown: true } })
  sealed = world.repo('sealed')
  sealed.commit('v1', {}, { run: { env: { URL: REFERENCE, LISTEN: '127.0.0.1' } } })
  kept = world.repo('kept')
  kept.commit('v1', {}, KEPT())
  site = world.repo('site')
  site.commitFiles('v1', {
    'shiplock.yaml': 'services: { site: { build: { deployFiles: [public] }, run: { staticRoot: public }, deploy: { bake: 0 } } }',
    'public/index.html': 'a site',
  })
  const repos = { web, fixed, sealed, kept, site }
  await Promise.all(SERVICES.map((service) => deployed(service, repos[service])))
  web.commit('v2', {}, WEB)
  await deployed('web', web)
  const made = await server.call('POST', '/v1/webhooks', { service: 'web', provider: 'github', repository: web.source.url })
  hook = new HookClient(made, server.apiUrl)
  await server.call('PUT', '/v1/services/web/releases/1/pin')
  await server.call('POST', '/v1/environments', { name: 'staging' })
  const token = { name: 'stg', project: 'default', environment: 'staging', role: 'developer' }
  stagingToken = (await server.call('POST', '/v1/tokens', token)).token
  before = new Map()
  for (const service of SERVICES) before.set(service, await instancesOf(service))
}

/** Ids of what serves, whether they changed or not. */
async function instancesOf(service: Name): Promise<string> {
  const { instanceList } = await world.server.service(service)
  return instanceList
    .filter(({ state }) => state === 'serving')
    .map(({ id, address, restarts }) => `${id} ${address} ${restarts}`)
    .sort()
    .join()
}

/** The edge process that answers, whichever version it is of. */
const edgeAt = () =>
  new EmbeddedEdge({
    stateDirectory: join(world.server.dataDirectory, 'edge'),
    listen: { host: '127.0.0.1', port: world.server.edgePort },
    logger: silentLogger,
  })
async function edgePidNow(): Promise<number> {
  const edge = edgeAt()
  const { pid } = await edge.status()
  await edge.detach()
  return pid
}

function filesWithSecret(): string[] {
  const { stdout } = spawnSync('grep', ['-rlsF', '--exclude-dir=postgres', '--', SECRET, world.server.dataDirectory], { encoding: 'utf8' })
  return stdout.split('\n').filter((line) => line !== '')
}

const answers = async (service: Name) => (await world.server.ask(service, service === 'site' ? '/index.html' : '/')).body
async function nothingLost(): Promise<void> {
  for (const load of loads) {
    await load.answers(5)
    expect(load.failures).toEqual([])
    expect(load.connectionsClosed.unannounced).toBe(0)
  }
}

test('I5: the former server is killed while it deploys, under load; this one adopts what runs and ends what was under way', async () => {
  const { server } = world
  kept.commit('v2', {}, KEPT('; sleep 2'))
  underWay = await server.deploy({ service: 'kept', source: kept.source })
  await server.waitFor(underWay.id, ({ stage }) => stage === 'build')
  await server.kill9()
  await nothingLost()
  await server.start({}, builtFile('main.ts'))
  // Killed at once, before it did anything; and again: what it has migrated and adopted by then is found as it is.
  await server.kill9()
  await server.start({}, builtFile('main.ts'))
  expect(await server.settled(underWay.id)).toMatchObject({ status: 'running' })
  await nothingLost()
  for (const service of SERVICES) {
    if (service !== 'kept') expect(await instancesOf(service), service).toBe(before.get(service))
  }
  expect(await edgePidNow(), 'the former edge goes on').toBe(edgePid)
  expect(await Promise.all(SERVICES.map(answers))).toEqual(['v2', 'v1', 'v1', 'v2', 'a site'])
  const { checks } = await server.call('GET', '/v1/server')
  expect(checks.filter(({ status }: { status: string }) => status === 'failed')).toEqual([])
})

test('I3: the former edge swaps for this server without losing a request; a push deploys by the rules of what is live', async () => {
  const { server } = world
  const client = new HookClient({ webhook: hook, secret: hook.secret }, server.apiUrl)
  const push = async (sha: string, file: string) => {
    const { body } = await client.send(pushOf(web.git('rev-parse', `${sha}~1`), sha, { files: [file] }))
    return eventually(async () => {
      const { items } = await server.call('GET', `/v1/webhooks/${hook.id}/deliveries`)
      return items.find(({ id, verdict }: Delivery) => id === body.delivery && verdict !== 'received') ?? false
    }, WITHIN)
  }
  expect(await push(web.commit('v2-docs', {}, WEB), 'README.md')).toMatchObject({ verdict: 'skipped', code: 'watch' })
  const { deploymentIds } = await push(web.commit('v3', {}, WEB), 'app.mjs')
  expect(await server.settled(deploymentIds[0] ?? '')).toMatchObject({ status: 'running' })
  expect(await answers('web')).toBe('v3')
  const { pushes, source } = (await server.service('web')) as ServiceDetail
  expect(pushes).toEqual({ branch: null, tags: null, watch: ['app.mjs', 'behaviour.json'], queue: 'latest' })
  expect(source).toMatchObject(web.source)
  await nothingLost()
})

test('I7: a release of the former server is rolled back to, with its variables; what it had pinned is pinned', async () => {
  const { server } = world
  expect(await rolledBack('web', 1)).toMatchObject({ status: 'running' })
  expect(await answers('web')).toBe('v1')
  const { items } = await server.call('GET', '/v1/services/web/releases')
  expect(items.find(({ number }: { number: number }) => number === 1)).toMatchObject({ pinned: true, live: true })
  await server.call('PUT', '/v1/variables', {
    environment: 'production',
    service: 'sealed',
    variables: { TOP: 'another-one' },
    secret: true,
  })
  sealed.commit('v2', {}, { run: { env: { URL: REFERENCE } } })
  await deployed('sealed', sealed)
  expect(JSON.parse((await server.ask('sealed', '/env')).body)).toMatchObject({ URL: 'postgres://app:another-one@db/app' })
  expect(await rolledBack('sealed', 1)).toMatchObject({ status: 'running' })
  expect(JSON.parse((await server.ask('sealed', '/env')).body)).toMatchObject({ URL: `postgres://app:${SECRET}@db/app`, LEVEL: 'quiet' })
  await nothingLost()
})

test('what the former server had built, cached and prepared is of use to the next deployment; a static site deploys again', async () => {
  const { server } = world
  const ofKept = async (id: string) => (await server.logLines(id)).map(({ text }) => text)
  const resumed = await ofKept(underWay.id)
  const layers = resumed
    .filter((line) => / layer: (hit|miss)/.test(line))
    .map((line) =>
      line
        .split(/[ ,;(]+/)
        .slice(0, 3)
        .join(' '),
    )
  expect(layers.sort()).toEqual(['base layer: hit', 'build layer: hit', 'runtime layer: hit'])
  expect(resumed).toContain('builds: 2')
  kept.commit('v3', {}, KEPT())
  expect(await ofKept((await deployed('kept', kept)).id)).toContain('builds: 3')
  await server.deployed({ service: 'site', source: site.source, options: { rebuild: true } })
  expect(await answers('site')).toBe('a site')
  expect(await instancesOf('fixed'), 'what listens on a fixed port is left alone').toBe(before.get('fixed'))
  await nothingLost()
})

test('I8: once what the former server started is gone, no secret stands in plain on the disk', async () => {
  expect(plainBefore, 'the former server had it there').not.toEqual([])
  expect(filesWithSecret()).toEqual([])
})

test('I14: a token of staging that the former server made still counts for staging, and only there', async () => {
  const headers = { authorization: `Bearer ${stagingToken}` }
  expect((await world.server.api('GET', '/v1/services', undefined, headers)).body.items).toEqual([])
  expect((await world.server.api('POST', '/v1/deployments', { service: 'web', environment: 'production' }, headers)).status).toBe(404)
})

test('I3: the former edge is replaced by this version’s without losing a request', async () => {
  const edge = edgeAt()
  await edge.restart(builtFile('edge/embedded/main.ts'))
  await edge.detach()
  expect(await edgePidNow()).not.toBe(edgePid)
  await nothingLost()
  web.commit('v4', {}, { run: { instances: 2 } })
  await deployed('web', web)
  expect(await answers('web')).toBe('v4')
  await nothingLost()
})
