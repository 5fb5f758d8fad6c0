import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { drawCanary, filesWith } from '../support/canary.ts'
import { dockerdMissing, sharedDockerd } from '../support/dockerd.ts'
import { eventually } from '../support/eventually.ts'
import { memoryPathsOf } from '../support/memory-directories.ts'
import type { StoryConfig } from '../support/story-repo.ts'
import { StoryWorld } from '../support/story-world.ts'

/**
 * Secrets of every way into a file (a build, its prepare commands, a release command, init commands, the app, commands beside it) are drawn
 * anew, and every file of the data directory is searched for them while those things run, after kill -9, and after the way back.
 */
const SERVICE = 'vault'
const CANARIES = { PROJECT_SECRET: drawCanary('project'), SERVICE_SECRET: drawCanary('service'), PLAIN: drawCanary('plain') }
const KNOWS = 'test -n "$PROJECT_SECRET" && test -n "$SERVICE_SECRET"'
/** Long enough to be looked at while it runs. */
const LINGER = `${KNOWS} && sleep 1`
const CONFIG: StoryConfig = {
  build: { prepareCommands: [LINGER], buildCommands: [LINGER] },
  run: { prepareCommands: [LINGER], initCommands: [KNOWS] },
  deploy: {
    releaseCommand: LINGER,
    readinessCheck: { exec: { command: `${KNOWS} && sleep 0.3` }, failureTimeout: '30s', retryPeriod: '200ms' },
  },
}

const found = (world: StoryWorld) => filesWith(Object.values(CANARIES), [world.server.dataDirectory, world.directory])

async function setSecrets({ server }: StoryWorld): Promise<void> {
  await server.call('PUT', '/v1/variables', { variables: { PROJECT_SECRET: CANARIES.PROJECT_SECRET }, secret: true })
  await server.call('PUT', '/v1/variables', { variables: { PLAIN: CANARIES.PLAIN } })
  await server.call('PUT', '/v1/variables', { variables: { SERVICE_SECRET: CANARIES.SERVICE_SECRET }, secret: true, service: SERVICE })
}

/** Deploys and searches all the while. Answers how often that was. */
async function deployUnderSearch(world: StoryWorld, version: string): Promise<number> {
  const repo = world.repo(SERVICE)
  repo.commit(version, {}, CONFIG)
  const { id } = await world.server.deploy({ service: SERVICE, source: repo.source })
  for (let looks = 1; ; looks++) {
    expect(found(world)).toEqual([])
    const { settled, status, error } = await world.server.deployment(id)
    if (!settled) continue
    expect(error).toBeNull()
    expect(status).toBe('running')
    return looks
  }
}

describe('on processes', () => {
  let world: StoryWorld
  beforeAll(async () => {
    world = await StoryWorld.begin()
    await setSecrets(world)
  })
  afterAll(() => StoryWorld.endAll())

  test('I8: no file has a variable while builds, release commands, instances and commands beside them run, nor after kill -9', async () => {
    const { server } = world
    expect(await deployUnderSearch(world, 'v1')).toBeGreaterThan(5)
    expect(await deployUnderSearch(world, 'v2')).toBeGreaterThan(5)
    await server.kill9()
    expect(found(world)).toEqual([])
    await server.start()
    const { id } = await server.rollback({ service: SERVICE })
    await server.settled(id)
    expect((await server.service(SERVICE)).live?.deploymentId).toBe(id)
    expect(found(world)).toEqual([])
  })

  test('I8: what runs has its variables in memory, for commands that the next server runs beside it', async () => {
    const { server } = world
    const [path = ''] = memoryPathsOf(server.dataDirectory)
    expect(filesWith([CANARIES.PROJECT_SECRET], [path]).map((file) => file.split('/').at(-2))).toContain('running')
    const { checks } = await server.call('GET', '/v1/server')
    expect(checks.find((check: { name: string }) => check.name === 'secrets at rest')).toMatchObject({ status: 'ok' })
  })

  test('I1: after a reboot, with memory empty, what served comes back with its variables', async () => {
    const { server } = world
    await server.kill9()
    for (const path of memoryPathsOf(server.dataDirectory)) rmSync(path, { recursive: true })
    for (const { identity, command } of server.processes()) if (!command.includes('postgres')) process.kill(identity.pid, 'SIGKILL')
    await server.start()
    await eventually(async () => expect((await server.ask(SERVICE, '/')).status).toBe(200), { withinMs: 30_000 })
    expect(filesWith([CANARIES.SERVICE_SECRET], memoryPathsOf(server.dataDirectory))).not.toEqual([])
    expect(found(world)).toEqual([])
  })

  test('I8: what an earlier version left on disk is taken into memory and removed, and commands beside the instance go on', async () => {
    const { server } = world
    await server.kill9()
    const [memory = ''] = memoryPathsOf(server.dataDirectory)
    const serving = readdirSync(join(memory, 'running'))
    // As servers before this one had them.
    const old = join(server.dataDirectory, 'sandbox/environments')
    mkdirSync(old)
    for (const instance of serving) {
      cpSync(join(memory, 'running', instance), join(server.dataDirectory, 'instances/instances', instance, 'environment.json'))
      writeFileSync(join(old, instance), `export PROJECT_SECRET='${CANARIES.PROJECT_SECRET}'\n`, { mode: 0o600 })
    }
    rmSync(memory, { recursive: true })
    expect(found(world)).toHaveLength(2 * serving.length)
    await server.start()
    expect(found(world)).toEqual([])
    expect(existsSync(old)).toBe(false)
    for (const instance of serving) expect(readFileSync(join(memory, 'running', instance), 'utf8')).toContain(CANARIES.SERVICE_SECRET)
  })

  test('I5: a service that is removed leaves nothing in memory', async () => {
    const { server } = world
    await server.call('DELETE', `/v1/services/${SERVICE}`)
    await eventually(() => memoryPathsOf(server.dataDirectory).length === 0, { withinMs: 30_000 })
  })
})

describe('on containers', () => {
  const missing = dockerdMissing()
  beforeEach((context) => context.skip(missing !== null, missing ?? ''))
  afterAll(() => StoryWorld.endAll())

  test('I8: no file of the server has a variable while builds, release commands and instances run, nor after kill -9', async () => {
    const world = await StoryWorld.begin({}, await sharedDockerd())
    await setSecrets(world)
    expect(await deployUnderSearch(world, 'v1')).toBeGreaterThan(3)
    await world.server.kill9()
    expect(found(world)).toEqual([])
  }, 240_000)
})
