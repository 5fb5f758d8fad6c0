import { afterAll, beforeAll, expect, test } from 'vitest'
import { audit } from '../support/audit.ts'
import { runCli } from '../support/cli.ts'
import { eventually } from '../support/eventually.ts'
import { StoryWorld } from '../support/story-world.ts'

let world: StoryWorld
beforeAll(async () => {
  world = await StoryWorld.begin()
})
afterAll(() => StoryWorld.endAll())

const textsOf = async (id: string) => (await world.server.logLines(id)).map((line) => line.text)
const cli = (...args: string[]) => {
  const { server } = world
  return runCli({ dataDirectory: server.dataDirectory, apiPort: 0, edgePort: server.edgePort }, args, {
    env: { SHIPLOCK_URL: server.apiUrl, SHIPLOCK_TOKEN: server.token },
  })
}

test('a failing init command is passed over and shown: in the log, as a warning and as an event', async () => {
  const { server } = world
  const repo = world.repo('init')
  repo.commit('v1', {}, { run: { initCommands: ['echo warming up', 'echo no cache here; exit 3'] } })
  const { id } = await server.deployed({ service: 'init', source: repo.source })
  const { warnings } = await server.deployment(id)
  expect(warnings).toEqual([expect.stringContaining('instance 0: init command 2 exited with 3: echo no cache here; exit 3')])
  expect(await server.events(id)).toContainEqual(expect.objectContaining({ type: 'deployment.warning', message: warnings[0] }))
  expect(await textsOf(id)).toContain('no cache here')
  expect((await server.ask('init', '/')).body).toBe('v1')
})

test('I1: with initFailure: fail it fails the deployment, and what served goes on', async () => {
  const { server } = world
  const repo = await world.serving('strict')
  repo.commit('v2', {}, { run: { initCommands: ['echo not today; exit 3'], initFailure: 'fail' } })
  const { id } = await server.deploy({ service: 'strict', source: repo.source })
  const { status, error } = await server.settled(id)
  expect({ status, code: error?.code, stage: error?.stage }).toEqual({ status: 'failed', code: 'LAUNCH_FAILED', stage: 'launch' })
  expect(error?.message).toContain('init command 1 exited with 3')
  expect(error?.logTail).toContain('not today')
  expect((await server.ask('strict', '/')).body).toBe('v1')
})

test('I12: an init command that hangs is bounded by failureTimeout and named as what it is', async () => {
  const { server } = world
  const repo = await world.serving('hang')
  const readinessCheck = { httpGet: { path: '/ready' }, failureTimeout: '2s' }
  repo.commit('v2', {}, { run: { initCommands: ['echo thinking; sleep 1000'] }, deploy: { readinessCheck } })
  const { id } = await server.deploy({ service: 'hang', source: repo.source })
  const { status, error } = await server.settled(id)
  expect({ status, code: error?.code }).toEqual({ status: 'failed', code: 'LAUNCH_FAILED' })
  expect(error?.message).toContain('the init commands had not ended after 2 s')
  expect(error?.logTail).toContain('thinking')
  expect((await server.ask('hang', '/')).body).toBe('v1')
})

test('init work that only one instance may do is done once per deployment', async () => {
  const { server } = world
  const repo = world.repo('once')
  const command = `shiplock-once migrate -- node -e "fetch(process.env.COLLECTOR,{method:'POST',body:JSON.stringify({kind:'migrated',deployment:process.env.SHIPLOCK_DEPLOYMENT})})"`
  repo.commit('v1', {}, { run: { initCommands: [command], initFailure: 'fail', instances: 3 } })
  const { id } = await server.deployed({ service: 'once', source: repo.source })
  expect(world.collector.of('migrated').map((report) => report.deployment)).toEqual([id])
})

test('I3: scaling 2 to 4 to 1 under load loses nothing; the command follows until as many serve', async () => {
  const { server } = world
  const repo = world.repo('scale')
  repo.commit('v1', {}, { run: { instances: 2 } })
  const { id } = await server.deployed({ service: 'scale', source: repo.source })
  const load = await world.load('scale', { clients: { get: 1, post: 1, slow: 1, sse: 0, websocket: 0 } })
  const up = await cli('scale', 'scale', '4')
  expect({ code: up.code, stderr: up.stderr }).toEqual({ code: 0, stderr: '' })
  expect(up.stdout).toContain('4 instances serve')
  expect((await server.service('scale')).instances).toMatchObject({ serving: 4, wanted: 4, scaledTo: 4 })
  await load.answers(20)
  const down = await cli('scale', 'scale', '1', '--json')
  expect(JSON.parse(down.stdout)).toMatchObject({ instances: { serving: 1, wanted: 1, scaledTo: 1 } })
  await load.answers(20)
  await load.stop()
  expect(load.failures).toEqual([])
  expect((await cli('scale', 'scale', '--reset')).stdout).toContain('2 instances serve, as its configuration says')
  const scaled = (await server.events()).filter((event) => event.service === 'scale' && event.type === 'service.scaled')
  expect(scaled.filter((event) => event.deploymentId === null).map((event) => event.data.wanted)).toEqual([4, 1, null])
  expect(scaled.every((event) => event.deploymentId === null || event.deploymentId === id)).toBe(true)
  for (const args of [['11'], ['2', '--reset']]) {
    const refused = await cli('scale', 'scale', ...args)
    expect(refused.code, args.join(' ')).toBe(2)
    expect(refused.stderr).toContain('1 to 10')
  }
  expect(await server.api('PUT', '/v1/services/scale/scale', { instances: 11 })).toMatchObject({
    status: 400,
    body: { code: 'INPUT_INVALID' },
  })
  expect(await server.api('PUT', '/v1/services/nobody/scale', { instances: 1 })).toMatchObject({ status: 404 })
})

test('I5: a release command that runs while the server is stopped in order runs on, and once', async () => {
  const { server } = world
  const repo = await world.serving('migrate')
  const tell = (kind: string) =>
    `await fetch(process.env.COLLECTOR,{method:'POST',body:JSON.stringify({kind:'${kind}',deployment:process.env.SHIPLOCK_DEPLOYMENT})})`
  const releaseCommand = 'node migrate.mjs'
  const script = `${tell('migration-begun')}\nawait new Promise((resolve) => setTimeout(resolve, 3000))\n${tell('migration-done')}\n`
  repo.commit('v2', {}, { deploy: { releaseCommand } }, { 'migrate.mjs': script })
  const { id } = await server.deploy({ service: 'migrate', source: repo.source })
  await eventually(() => expect(world.collector.of('migration-begun')).toHaveLength(1), { withinMs: 20_000 })
  await server.stop('server')
  expect(world.collector.of('migration-done')).toHaveLength(0)
  await server.start()
  expect(await server.settled(id)).toMatchObject({ status: 'running' })
  expect(world.collector.of('migration-begun')).toHaveLength(1)
  expect(world.collector.of('migration-done').map((report) => report.deployment)).toEqual([id])
  expect((await server.ask('migrate', '/')).body).toBe('v2')
})

test('after all of it nothing runs or stands that no row wants', async () => {
  await eventually(async () => expect(await audit(world.server, world.collector)).toEqual([]), { withinMs: 30_000 })
})
