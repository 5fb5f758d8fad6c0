import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, chownSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { dirname, join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { silentLogger } from '../../src/core/log.ts'
import { signalProcess } from '../../src/core/process-identity.ts'
import { EmbeddedEdge } from '../../src/edge/embedded/embedded-edge.ts'
import { firstBarrier } from '../../src/store/embedded/reach.ts'
import { audit } from '../support/audit.ts'
import { builtFile } from '../support/build.ts'
import { eventually } from '../support/eventually.ts'
import { freePort, freshDataDirectory, StartFailure, TestServer } from '../support/server.ts'
import { StoryWorld } from '../support/story-world.ts'

const NOBODY = { uid: 65_534, gid: 65_534 }
const isRoot = process.getuid?.() === 0
const ends: (() => Promise<void> | void)[] = []
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})

async function begin(...options: Parameters<typeof StoryWorld.begin>): Promise<StoryWorld> {
  const world = await StoryWorld.begin(...options)
  ends.push(() => world.end())
  return world
}

/** Why the server did not start. */
async function refusal(server: TestServer, env: Readonly<Record<string, string>> = {}): Promise<StartFailure> {
  const failure = await server.start(env).then(
    () => null,
    (error: unknown) => error,
  )
  expect(failure).toBeInstanceOf(StartFailure)
  return failure as StartFailure
}

test('I3: stopping and starting the server under load is noticed by nobody, and a deployment goes on where it was', async () => {
  const world = await begin()
  const { server } = world
  const repo = await world.serving('ops')
  const load = await world.load('ops')
  repo.commit('v2', { readyAfterMs: 1500 })
  const { id } = await server.deploy({ service: 'ops', source: repo.source })
  await server.waitFor(id, (deployment) => deployment.stage === 'verify')
  await server.stop('server')
  await load.answers(20)
  await server.start()
  expect(await server.settled(id)).toMatchObject({ status: 'running' })
  await load.sees('v2')
  await load.stop()
  expect(load.failures).toEqual([])
  await eventually(async () => expect(await audit(server, world.collector)).toEqual([]))
})

test('I3: a restart of the edge under load loses nothing: connections end as announced', async () => {
  const world = await begin()
  const { server } = world
  await world.serving('edge')
  const load = await world.load('edge')
  const edge = new EmbeddedEdge({
    stateDirectory: join(server.dataDirectory, 'edge'),
    listen: { host: '127.0.0.1', port: server.edgePort },
    entryPath: builtFile('edge/embedded/main.ts'),
    logger: silentLogger,
  })
  const before = (await edge.status()).pid
  await edge.restart()
  await load.answers(50)
  expect((await edge.status()).pid).not.toBe(before)
  await edge.detach()
  // The server has found the new one, and can still swap.
  const repo = world.repo('edge2')
  repo.commit('v1')
  await server.deployed({ service: 'edge2', source: repo.source })
  await load.stop()
  expect(load.failures).toEqual([])
  expect(load.connectionsClosed.unannounced).toBe(0)
})

test('a stop of everything leaves nothing behind, and the next start brings the app back', async () => {
  const world = await begin({ env: { SHIPLOCK_FOREGROUND: '1' } })
  const { server } = world
  await world.serving('again')
  await server.stop('everything')
  expect(server.leftovers()).toEqual([])
  await server.start()
  await eventually(async () => expect(await server.ask('again', '/')).toMatchObject({ status: 200, body: 'v1' }), { withinMs: 20_000 })
  await eventually(async () => expect(await audit(server, world.collector)).toEqual([]))
})

test('a second server on the same data directory is refused, naming the process that has it', async () => {
  const { server } = await begin()
  const second = await TestServer.prepare({ dataDirectory: server.dataDirectory, edgePort: await freePort() })
  const failure = await refusal(second)
  expect(failure).toMatchObject({ code: 'DATA_DIRECTORY_LOCKED', exitCode: 4 })
  expect(failure.message).toContain(String(server.pid))
  expect(failure.hint).not.toBe('')
  expect((await server.api('GET', '/v1/health')).status).toBe(200)
})

test.each([
  ['API', 'SHIPLOCK_API_LISTEN'],
  ['edge', 'SHIPLOCK_EDGE_LISTEN'],
])('a port of the %s that is taken is refused clearly, and nothing is left behind', async (_name, variable) => {
  const holder = createServer()
  await new Promise<void>((resolve) => holder.listen(0, '127.0.0.1', resolve))
  ends.push(() => new Promise((resolve) => holder.close(() => resolve())))
  const address = holder.address()
  const port = typeof address === 'object' ? (address?.port ?? 0) : 0
  const server = await TestServer.prepare()
  ends.push(() => server.dispose())
  const failure = await refusal(server, { [variable]: `127.0.0.1:${port}` })
  expect(failure).toMatchObject({ code: 'PORT_IN_USE', exitCode: 4 })
  expect(failure.message).toContain(String(port))
  expect(server.leftovers()).toEqual([])
  // And the directory is good for a start with a port that is free.
  await server.start()
})

test('I5: a database that goes away in the middle of a deployment and comes back changes nothing', async () => {
  const world = await begin()
  const { server } = world
  const repo = await world.serving('base')
  const load = await world.load('base')
  repo.commit('v2', { readyAfterMs: 2500 })
  const { id } = await server.deploy({ service: 'base', source: repo.source })
  await server.waitFor(id, (deployment) => deployment.stage === 'verify')
  const [postmaster] = server.processes().filter(({ command }) => command.includes('postgres -D '))
  if (postmaster === undefined) throw new Error('no postmaster was found')
  signalProcess(postmaster.identity, 'SIGKILL')
  await eventually(async () => expect(await server.settled(id)).toMatchObject({ status: 'running' }), { withinMs: 60_000 })
  await load.sees('v2')
  await load.stop()
  expect(load.failures).toEqual([])
  await eventually(async () => expect(await audit(server, world.collector)).toEqual([]))
})

const canOthersRunNode = (await firstBarrier(dirname(process.execPath), { ...NOBODY, name: 'nobody', isSelf: false })) === null
const canOthersRead = (await firstBarrier(dirname(builtFile('main.ts')), { ...NOBODY, name: 'nobody', isSelf: false })) === null
const asNobody = test.skipIf(!isRoot || !canOthersRunNode || !canOthersRead)

asNobody('an ordinary user can run the whole story', async () => {
  const dataDirectory = freshDataDirectory()
  ends.push(() => rmSync(dataDirectory, { recursive: true, force: true }))
  chownSync(dataDirectory, NOBODY.uid, NOBODY.gid)
  chmodSync(dataDirectory, 0o700)
  const world = await begin({ dataDirectory, user: NOBODY })
  const { server } = world
  const repo = world.repo('plain')
  // git serves a repository only to its owner, and only its owner may commit here.
  const give = (uid: number, gid: number) => execFileSync('chown', ['-R', `${uid}:${gid}`, world.directory])
  repo.commit('v1')
  give(NOBODY.uid, NOBODY.gid)
  await server.deployed({ service: 'plain', source: repo.source })
  const load = await world.load('plain')
  give(0, 0)
  repo.commit('v2')
  give(NOBODY.uid, NOBODY.gid)
  await server.deployed({ service: 'plain', source: repo.source })
  await load.sees('v2')
  const { id } = await server.rollback({ service: 'plain' })
  await server.settled(id)
  await load.stop()
  expect(load.failures).toEqual([])
  expect((await server.ask('plain', '/')).body).toBe('v1')
  const { checks } = await server.call('GET', '/v1/server')
  console.log(
    checks.map((check: { name: string; status: string; summary: string }) => `${check.name}: ${check.status}: ${check.summary}`).join('\n'),
  )
  await eventually(async () => expect(await audit(server, world.collector)).toEqual([]))
})

/** A file system of 256 MiB; null where mounting is not allowed. */
function smallDisk(): string | null {
  const directory = mkdtempSync('/tmp/sl-')
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=256m,mode=711', 'tmpfs', directory])
  if (mounted.status !== 0) {
    rmSync(directory, { recursive: true })
    return null
  }
  ends.push(() => {
    execFileSync('umount', ['--lazy', directory])
    rmSync(directory, { recursive: true, force: true })
  })
  return directory
}

test('a full disk fails a deployment by its name, what serves goes on, and all is well when there is room again', async ({ skip }) => {
  const dataDirectory = isRoot ? smallDisk() : null
  if (dataDirectory === null) return skip('mounting a small file system needs root')
  // Without a mark above the end of the disk: it is the end that is met here.
  const world = await begin({ dataDirectory, env: { SHIPLOCK_DISK_MARK: '1M' } })
  const { server } = world
  const repo = await world.serving('disk')
  const load = await world.load('disk')
  const ballast = join(dataDirectory, 'ballast')
  const free = Number(execFileSync('df', ['--output=avail', '-B1', dataDirectory], { encoding: 'utf8' }).split('\n')[1])
  writeFileSync(ballast, Buffer.alloc(free - 6 * 1024 * 1024))
  repo.commit('v2', {}, {}, { 'big.bin': 'x'.repeat(24 * 1024 * 1024) })
  const { id } = await server.deploy({ service: 'disk', source: repo.source })
  const { status, error } = await server.settled(id)
  expect({ status, code: error?.code }, error?.message).toEqual({ status: 'failed', code: 'DISK_FULL' })
  await load.answers(10)
  rmSync(ballast)
  await server.deployed({ service: 'disk', source: repo.source })
  await load.sees('v2')
  await load.stop()
  expect(load.failures).toEqual([])
  expect(existsSync(ballast)).toBe(false)
})
