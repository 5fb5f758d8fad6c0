import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { copyFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { removeTree } from '../../src/core/remove-tree.ts'
import { eventually } from '../support/eventually.ts'
import { GitRepo } from '../support/git-repo.ts'
import { disposeServers, startTestServer, type TestServer } from '../support/server.ts'
import { mountSmallVolume, type SmallVolume } from '../support/small-volume.ts'

const MiB = 1024 ** 2
/** A busy machine writes slowly. */
const PATIENCE = { withinMs: 60_000 }
const RESERVE = 90
const APP = join(import.meta.dirname, '../support/apps/shell-app.mjs')

let volume: SmallVolume
let server: TestServer
const repositories: GitRepo[] = []

beforeAll(async () => {
  volume = mountSmallVolume(520, 150_000)
  server = await startTestServer({
    dataDirectory: volume.directory,
    env: {
      SHIPLOCK_DISK_RESERVE_MB: String(RESERVE),
      SHIPLOCK_DISK_MARK: '32M',
      SHIPLOCK_PROJECT_UPLOAD_MB: '64',
      SHIPLOCK_PROJECT_DISK_MB: '100000',
    },
  })
})

afterAll(async () => {
  await disposeServers()
  volume?.remove()
  for (const repository of repositories) await removeTree(repository.directory)
})

interface Told {
  readonly run?: Readonly<Record<string, unknown>>
  readonly build?: Readonly<Record<string, unknown>>
}

/** A service of a project, with the app that does what it is told. */
function sourceOf(service: string, told: Told = {}) {
  const repository = new GitRepo(join('/tmp', `sl-disk-${service}-${process.pid}`))
  repositories.push(repository)
  copyFileSync(APP, join(repository.directory, 'app.mjs'))
  const config = {
    build: { deployFiles: ['./'], ...told.build },
    run: { start: 'node app.mjs', env: { VERSION: 'v1' }, ...told.run },
    deploy: { bake: 0, readinessCheck: { httpGet: { path: '/' }, failureTimeout: '20s' } },
  }
  repository.commit('v1', { 'shiplock.yaml': stringify({ services: { [service]: config } }) })
  return { kind: 'git', url: `file://${repository.directory}`, ref: null }
}

const deployed = (project: string, service: string, told: Told = {}) =>
  server.deployed({ project, service, source: sourceOf(service, told) })
const tell = (host: string, command: string, more = '') => server.ask(host, `/sh?c=${encodeURIComponent(`chmod u+w .; ${command}`)}${more}`)

/** What the other project sees while `during` goes on: its service answers and its deployments go through. */
async function whileOthersGoOn(during: () => Promise<unknown>): Promise<void> {
  const failures: string[] = []
  let isOver = false
  const asking = (async () => {
    while (!isOver) {
      const reply = await server.ask('calm-beta', '/').catch((error: Error) => ({ status: 0, body: error.message }))
      if (reply.status !== 200) failures.push(`${reply.status} ${reply.body}`)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  })()
  try {
    await during()
    await deployed('beta', 'calm')
  } finally {
    isOver = true
    await asking
  }
  expect(failures).toEqual([])
  expect(server.log()).not.toMatch(/DISK_FULL: database|could not extend|taking work failed/)
}

/** The event that says why an instance was stopped. */
async function stopOf(deployment: string): Promise<string> {
  let message: string | undefined
  await eventually(async () => {
    message = (await server.events(deployment)).find((event) => event.type === 'instance.disk_limit')?.message
    expect(message).toBeDefined()
  }, PATIENCE)
  return message ?? ''
}

const serves = (host: string) => eventually(async () => expect((await server.ask(host, '/')).status).toBe(200), PATIENCE)

beforeAll(async () => {
  await deployed('beta', 'calm')
})

test('I13: an instance that fills the disk is stopped with its reason before the database meets the end of it; others serve and deploy', async () => {
  const { id } = await deployed('alpha', 'flood')
  await whileOthersGoOn(async () => {
    await tell('flood-alpha', 'dd if=/dev/zero of=fill bs=1M')
    expect(await stopOf(id)).toMatch(/filled the disk: it grew by .* MiB to .* MiB, and .* MiB must stay free/)
  })
  // It is started again with a fresh copy: what it wrote is gone.
  await serves('flood-alpha')
  expect(volume.freeBytes()).toBeGreaterThan(200 * MiB)
})

test('I13: what was deleted and is still open counts, and so do files without content', async () => {
  const { id } = await deployed('alpha', 'ghost')
  await whileOthersGoOn(async () => {
    await tell('ghost-alpha', 'exec 5>ghost; rm ghost; dd if=/dev/zero bs=1M >&5; sleep 60')
    expect(await stopOf(id)).toMatch(/filled the disk/)
  })
  const { id: inodes } = await deployed('alpha', 'inodes')
  await whileOthersGoOn(async () => {
    await tell('inodes-alpha', 'mkdir f; cd f; seq 1 150000 | xargs touch')
    expect(await stopOf(inodes)).toMatch(/filled the disk: it made \d+ files/)
  })
})

test('I13: an instance is held to its own limit, by blocks on disk: a sparse file costs nothing', async () => {
  const { id } = await deployed('alpha', 'small', { run: { diskMb: 64 } })
  await tell('small-alpha', 'truncate -s 8G sparse', '&wait')
  await whileOthersGoOn(async () => {
    await tell('small-alpha', 'dd if=/dev/zero of=fill bs=1M count=120; sleep 60')
    expect(await stopOf(id)).toMatch(/uses .* MiB on disk, its limit is 64 MiB/)
  })
  await serves('small-alpha')
  const exits = (await server.events(id)).filter((event) => event.type === 'instance.exited')
  expect(exits.map((event) => event.message).join()).toContain('its limit is 64 MiB')
})

test('I13: /tmp and the like are memory of the instance, no larger than it, and no core dump is left', async () => {
  await deployed('alpha', 'memory', { run: { memoryMb: 128 } })
  const sizes = 'df -k --output=size /tmp /dev/shm /var/tmp | tail -3 | sort -u | tr -d " "'
  const reply = await tell('memory-alpha', `[ "$(${sizes})" = 131072 ] && [ "$(ulimit -c)" = 0 ]`, '&wait')
  expect(reply.body).toBe('exit 0')
})

test('I12: a flood of output keeps its log within the bound, whatever it writes', async () => {
  await deployed('alpha', 'loud')
  const free = volume.freeBytes()
  let most = 0
  const looking = setInterval(() => {
    most = Math.max(most, free - volume.freeBytes())
  }, 10)
  const reply = await tell('loud-alpha', 'dd if=/dev/zero bs=1M count=400 2>/dev/null | tr "\\0" x | fold -w 200', '&wait')
  clearInterval(looking)
  expect(reply.body).toBe('exit 0')
  expect(most).toBeLessThan(200 * MiB)
})

test('I13: a build that fills the disk fails with its reason', async () => {
  await whileOthersGoOn(async () => {
    const source = sourceOf('builder', { build: { buildCommands: ['dd if=/dev/zero of=fill bs=1M'] } })
    const { id } = await server.deploy({ project: 'alpha', service: 'builder', source })
    const settled = await server.settled(id)
    expect(settled).toMatchObject({ status: 'failed', error: { code: 'DISK_FULL' } })
    expect(settled.error?.message).toMatch(/filled the disk/)
  })
})

test('I13: uploads of a project share a budget, also those that come at once', async () => {
  const { apiUrl, token } = server
  const archive = () => gzipSync(randomBytes(20 * MiB), { level: 0 })
  const send = async (project: string) => {
    const reply = await fetch(`${apiUrl}/v1/uploads?project=${project}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/gzip' },
      body: archive(),
    }).catch(() => null)
    return reply === null ? 507 : reply.status
  }
  const replies = await Promise.all(Array.from({ length: 8 }, () => send('alpha')))
  const taken = replies.filter((status) => status < 300).length
  expect(taken).toBeLessThanOrEqual(3)
  expect(replies.filter((status) => status !== 507)).toHaveLength(taken)
  expect(await send('beta')).toBeLessThan(300)
})

test('I13: where somebody else fills the disk nobody is stopped, health says so, and all goes on once there is room', async () => {
  const before = (await server.events()).length
  const health = async () => (await server.api('GET', '/v1/health')).body?.status
  const foreign = join(volume.directory, 'foreign')
  execFileSync('fallocate', ['-l', String(volume.freeBytes() - 4 * MiB), foreign])
  try {
    await eventually(async () => expect(await health()).toBe('degraded'), PATIENCE)
    expect((await server.ask('calm-beta', '/')).status).toBe(200)
  } finally {
    rmSync(foreign)
  }
  await eventually(async () => expect(await health()).toBe('ok'), PATIENCE)
  await deployed('beta', 'calm')
  expect((await server.events()).slice(before).filter((event) => event.type === 'instance.disk_limit')).toEqual([])
})

test('I13: many small instances of one project are bounded together', async () => {
  // What runs is taken up by the next server with the limits of its own.
  await server.stop('server')
  await server.start({ SHIPLOCK_PROJECT_DISK_MB: '100' })
  await whileOthersGoOn(async () => {
    const { id } = await deployed('gamma', 'many', { run: { instances: 3 } })
    for (let round = 0; round < 6; round++) await tell('many-gamma', 'dd if=/dev/zero of=fill bs=1M count=45 2>/dev/null')
    expect(await stopOf(id)).toMatch(/instances of its project use .* MiB on disk, their limit is 100 MiB/)
  })
})
