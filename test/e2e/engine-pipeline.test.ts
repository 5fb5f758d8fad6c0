import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { ShiplockError } from '../../src/core/errors.ts'
import type { ServiceEnvironment } from '../../src/store/sql/catalog.ts'
import { setVariables } from '../../src/store/sql/variables.ts'
import { expectSound } from '../support/engine-checks.ts'
import { createWorld, type World } from '../support/engine-world.ts'

let world: World
let app: ServiceEnvironment
beforeEach(async () => {
  world = await createWorld()
  app = await world.service()
  await world.server().start()
})
afterEach(() => world.close())

async function setVariable(name: string, value: string, secret = false): Promise<void> {
  const scope = { project: 'shop', environment: null, service: null }
  await world.database.transaction((tx) => setVariables(tx, scope, [{ name, sealedValue: world.sealer.seal(value), secret }], 'somebody'))
}

function envOf(id: string) {
  return [...world.host.instances.values()].find((instance) => instance.spec.labels.deploymentId === id)?.spec.env
}

describe('a deployment that goes well', () => {
  test('goes through every stage in order, says why it skipped one, and ends up live', async () => {
    world.commit('one')
    const { id, facts } = await world.live(app, 'one')
    const events = await world.events(id)
    const stages = events.filter((event) => event.type === 'stage.started').map((event) => event.data.stage)
    expect(stages).toEqual([
      ...['fetch', 'build', 'prepare', 'scan', 'publish', 'release-command'],
      ...['launch', 'verify', 'swap', 'drain', 'bake', 'retire'],
    ])
    const skipped = events.filter((event) => event.type === 'stage.skipped').map((event) => [event.data.stage, event.message])
    expect(Object.fromEntries(skipped)).toMatchObject({
      scan: 'scan: off',
      'release-command': 'no deploy.releaseCommand',
      drain: 'nothing was replaced',
      bake: 'there is no earlier version to swap back to',
    })
    expect(facts).toMatchObject({ revision: { kind: 'git', ref: 'one' }, artifact: { kind: 'tree' }, generation: 1, warnings: [] })
    expect(events.at(-1)).toMatchObject({ type: 'deployment.settled', terminal: true })
    await expectSound(world)
  })

  test('makes one release, numbered from v1 on, with its variables sealed', async () => {
    await setVariable('TOKEN', 'hunter2-hunter2', true)
    world.commit('one', { run: { env: { LEVEL: 'info' } } })
    world.commit('two')
    const { id } = await world.live(app, 'one')
    await world.live(app, 'two')
    const releases = await world.database.query<{ number: number; sealed_variables: Buffer }>('select * from releases order by number')
    expect(releases.map((release) => release.number)).toEqual([1, 2])
    const sealed = releases[0]?.sealed_variables ?? Buffer.of()
    expect(sealed.includes('hunter2')).toBe(false)
    expect(JSON.parse(world.sealer.open(sealed))).toMatchObject({ TOKEN: 'hunter2-hunter2', LEVEL: 'info' })
    expect(envOf(id)).toMatchObject({ TOKEN: 'hunter2-hunter2', SHIPLOCK_RELEASE: 'v1', SHIPLOCK_DEPLOYMENT: id, SHIPLOCK_SERVICE: 'app' })
  })

  test('an identical source skips the build, unless a rebuild is asked for', async () => {
    world.commit('one')
    await world.live(app, 'one')
    const again = await world.live(app, 'one')
    expect(world.builder.builds).toEqual(['one'])
    const skipped = (await world.events(again.id)).find((event) => event.type === 'stage.skipped' && event.data.stage === 'build')
    expect(skipped?.message).toContain('v1')
    await world.settled((await world.deploy(app, 'one', { rebuild: true })).id)
    expect(world.builder.builds).toEqual(['one', 'one'])
    await expectSound(world)
  })

  test('variables that change while it is on its way reach either all of its instances or none (I7)', async () => {
    await setVariable('LEVEL', 'before')
    world.commit('one', { run: { instances: 2 }, deploy: { releaseCommand: 'migrate' } })
    const gate = world.gate((step) => step.name === 'runtime.runTask' && step.side === 'before')
    const { id } = await world.deploy(app, 'one')
    await gate.reached
    await setVariable('LEVEL', 'after')
    gate.open()
    await world.settled(id)
    expect([...world.host.instances.values()].map((instance) => instance.spec.env.LEVEL)).toEqual(['before', 'before'])
  })

  test('I8: what the build prints and the app answers is kept without its secrets', async () => {
    await setVariable('TOKEN', 'hunter2-hunter2', true)
    world.commit('one', {}, { buildLines: ['token is hunter2-hunter2', `basic ${Buffer.from('me:hunter2-hunter2').toString('base64')}`] })
    const { id } = await world.live(app, 'one')
    const kept = JSON.stringify([
      await world.database.query('select text from log_lines where deployment_id = $1', [id]),
      await world.events(),
    ])
    expect(kept).toContain('token is ********')
    expect(kept).not.toContain('hunter2')
    expect(kept).not.toContain(Buffer.from('hunter2-hunter2').toString('base64').slice(2, -2))
  })
})

describe('a deployment that fails leaves what is live untouched (I1)', () => {
  const fail = (name: string, code: 'LAUNCH_FAILED' | 'PUBLISH_FAILED' | 'SCANNER_FAILED' | 'BUILD_FAILED' | 'SOURCE_NOT_FOUND') =>
    world.hooks.push((step) => {
      if (step.name === name && step.side === 'before') throw new ShiplockError(code, `${name} was told to fail`)
    })
  const CASES = [
    ['fetch', 'SOURCE_NOT_FOUND', () => fail('source.fetch', 'SOURCE_NOT_FOUND')],
    ['build', 'BUILD_FAILED', () => fail('builder.build', 'BUILD_FAILED')],
    ['publish', 'PUBLISH_FAILED', () => fail('registry.publish', 'PUBLISH_FAILED')],
    ['release-command', 'RELEASE_COMMAND_FAILED', () => Object.assign(world.host.faults, { taskExitCode: 3 })],
    ['launch', 'LAUNCH_FAILED', () => fail('runtime.start', 'LAUNCH_FAILED')],
  ] as const

  test.each(CASES)('at %s, with %s', async (stage, code, arrange) => {
    world.commit('old')
    const old = await world.live(app, 'old')
    const before = await world.route(app)
    world.commit('new', { deploy: { releaseCommand: 'migrate' }, run: { instances: 2 } })
    arrange()
    const { id } = await world.deploy(app, 'new')
    const ended = await world.settled(id)
    expect(ended).toMatchObject({ status: 'failed', stage, error: { code, stage } })
    expect(ended.error?.hint).not.toBe('')
    expect(ended.statusReason).toBe(ended.error?.message)
    expect(await world.route(app)).toEqual(before)
    expect((await world.find(old.id)).status).toBe('running')
    expect(await readdir(join(world.workDirectory, 'deployments'))).not.toContain(id)
    await expectSound(world)
  })

  test('never ready: fails with its attempts and the last lines of the instance', async () => {
    world.commit('old')
    await world.live(app, 'old')
    world.commit('new')
    const { id } = await world.deploy(app, 'new')
    world.unready.add(id)
    const { error } = await world.settled(id)
    expect(error).toMatchObject({ code: 'NOT_READY', stage: 'verify', logTail: ['started serve'] })
    expect(error?.message).toContain('exec check gave exit 1')
    expect(error?.attempts.length).toBeGreaterThan(1)
    expect(error?.attempts.at(-1)).toMatchObject({ outcome: 'failed', result: 'exit 1' })
    await expectSound(world)
  })

  test('an instance that is not ready is replaced as often as it may be, under ids of its own', async () => {
    world.commit('new', { readiness: { attempts: 3 } })
    const { id } = await world.deploy(app, 'new')
    world.unready.add(id)
    await world.settled(id)
    const events = await world.events(id)
    // The events of a stage are committed with its outcome; what it tried is in the log.
    const lines = await world.database.query<{ text: string }>('select text from log_lines where deployment_id = $1', [id])
    expect(lines.filter((line) => line.text.includes('; replaced (')).map((line) => line.text.slice(-8))).toEqual(['(2 of 3)', '(3 of 3)'])
    expect(events.some((event) => event.type === 'instance.ready')).toBe(false)
    expect(world.host.instances.size).toBe(0)
    await expectSound(world)
  })

  test('an instance that exits is not waited for', async () => {
    world.commit('new', { readiness: { failureTimeoutMs: 600_000 } })
    world.hooks.push(async (step) => {
      if (step.name !== 'runtime.exec' || step.side !== 'before') return
      for (const id of world.running()) await world.runtime.crash(id, 42)
    })
    const ended = await world.settled((await world.deploy(app, 'new')).id)
    expect(ended).toMatchObject({ status: 'failed', error: { code: 'LAUNCH_FAILED', stage: 'verify' } })
    expect(ended.error?.message).toContain('exit code 42')
  })

  test('an instance that was ready but died before the swap does not take traffic (I2)', async () => {
    world.commit('old')
    await world.live(app, 'old')
    world.commit('new')
    const { id } = await world.deploy(app, 'new')
    const gate = world.gate(async (step) => step.name === 'edge.read' && step.side === 'before' && (await world.find(id)).stage === 'swap')
    await gate.reached
    const [own] = (await world.instances(app)).filter((instance) => instance.deploymentId === id)
    if (own !== undefined) await world.runtime.crash(own.id, 9)
    gate.open()
    expect(await world.settled(id)).toMatchObject({ status: 'failed', error: { code: 'LAUNCH_FAILED', stage: 'swap' } })
    await expectSound(world)
  })

  test('the edge did it but its reply was lost: the deployment goes on, with one generation', async () => {
    world.commit('old')
    await world.live(app, 'old')
    world.commit('new')
    world.edge.fail('swap', 'lose-reply')
    await world.live(app, 'new')
    expect((await world.route(app))?.generation).toBe(2)
    await expectSound(world)
  })

  test('an edge that is away at the swap is waited for, because nobody knows what it did', async () => {
    world.commit('old')
    await world.live(app, 'old')
    world.commit('new')
    world.edge.fail('swap', 'refuse', 3)
    const ended = await world.live(app, 'new')
    expect(ended.facts.generation).toBe(2)
    await expectSound(world)
  })

  test('after the swap nothing but a failed bake fails it: a drain that keeps failing is a warning', async () => {
    world.commit('old')
    await world.live(app, 'old')
    world.commit('new')
    world.hooks.push((step) => {
      if (step.name === 'edge.drain' && step.side === 'before') throw new ShiplockError('EDGE_REFUSED', 'no drain today')
    })
    const ended = await world.live(app, 'new')
    expect(ended.facts.warnings).toEqual(['drain: no drain today'])
    await expectSound(world)
  })
})
