import { copyFileSync, mkdtempSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { removeTree } from '../../src/core/remove-tree.ts'
import { importBaseImage } from '../support/base-images.ts'
import { dockerRegistryMissing, REGISTRY_ACCOUNT, startDockerRegistry, type TestRegistry } from '../support/docker-registry.ts'
import { dockerdMissing, privateDockerd, type TestDockerd } from '../support/dockerd.ts'
import { GitRepo } from '../support/git-repo.ts'
import { disposeServers, startTestServer, type TestServer } from '../support/server.ts'

const missing = dockerdMissing() ?? dockerRegistryMissing()
const SERVICE = 'published'
const APP = join(import.meta.dirname, '../support/apps/server.mjs')

// The built server, a real engine and a real registry with accounts.
describe.skipIf(missing !== null)(`publishing in the whole${missing === null ? '' : ` (${missing})`}`, () => {
  let dockerd: TestDockerd
  let registry: TestRegistry
  let server: TestServer
  let repo: GitRepo
  let base: string
  const directory = mkdtempSync('/tmp/sl-story-publish-')

  beforeAll(async () => {
    dockerd = await privateDockerd()
    base = await importBaseImage(dockerd, 'node')
    registry = await startDockerRegistry({ address: dockerd.network.hostAddress, auth: true })
    repo = new GitRepo(join(directory, 'app'))
    server = await startTestServer({
      env: {
        PATH: `/usr/bin:${process.env.PATH}`,
        SHIPLOCK_CONTAINER_ENGINE: dockerd.host,
        SHIPLOCK_CONTAINER_ADDRESS: 'container',
        SHIPLOCK_SCAN_WITHOUT_SCANNER: 'warn',
        SHIPLOCK_REGISTRY: `${registry.host}/apps`,
        SHIPLOCK_REGISTRY_USER: REGISTRY_ACCOUNT.username,
        SHIPLOCK_REGISTRY_PASSWORD: REGISTRY_ACCOUNT.password,
        SHIPLOCK_REGISTRY_INSECURE: 'true',
      },
    })
  }, 180_000)
  afterAll(async () => {
    await disposeServers()
    await dockerd?.remove()
    await registry?.remove()
    await removeTree(directory)
  }, 120_000)

  function commit(version: string) {
    copyFileSync(APP, join(repo.directory, 'server.mjs'))
    const config = {
      services: {
        [SERVICE]: {
          build: { dockerfile: 'Dockerfile' },
          run: { port: 8080 },
          deploy: { readinessCheck: { tcp: { port: 8080 } }, bake: '0s', standby: '0s' },
          retention: 1,
        },
      },
    }
    repo.commit(version, {
      'shiplock.yaml': stringify(config),
      Dockerfile: `FROM ${base}\nWORKDIR /app\nCOPY server.mjs .\nENV HOST=0.0.0.0 VERSION=${version}\nCMD ["node", "server.mjs"]\n`,
    })
    return { kind: 'git', url: `file://${repo.directory}` }
  }
  const inspectRunning = async () => {
    const ids = (await dockerd.dockerText('ps', '--quiet', '--no-trunc', '--filter', 'label=shiplock.kind=instance')).split('\n')
    return JSON.parse(await dockerd.dockerText('inspect', ...ids.filter((id) => id !== ''))) as { Image: string }[]
  }

  test('I7: what is scanned is pushed, what is pushed runs, and a rollback pulls what the engine has lost', async () => {
    const first = await server.deployed({ service: SERVICE, source: commit('v1') })
    expect(first.status, JSON.stringify(first.error)).toBe('running')
    const one = (await inspectRunning())[0]?.Image
    await server.deployed({ service: SERVICE, source: commit('v2') })
    const { items } = await server.call('GET', `/v1/services/${SERVICE}/releases`)
    expect(items).toHaveLength(2)
    const log = await server.call('GET', `/v1/deployments/${first.id}/logs?limit=200`)
    const text = JSON.stringify(log)
    expect(text).toContain(`pushed as ${registry.host}/apps/default/${SERVICE}@sha256:`)
    expect(text).not.toContain(REGISTRY_ACCOUNT.password)
    // Standby is over at once; what still holds the image is its names.
    await expect
      .poll(async () => (await dockerd.docker(['image', 'rm', '--force', one ?? ''])).exitCode, { timeout: 60_000, interval: 500 })
      .toBe(0)
    const back = await server.rollback({ service: SERVICE })
    expect((await server.settled(back.id)).status).toBe('running')
    expect((await inspectRunning()).map((container) => container.Image)).toEqual([one])
  }, 180_000)

  test('I5: kill -9 between the push and its record: the next start finds it in the registry and goes on', async () => {
    await server.kill9()
    await server.start({ SHIPLOCK_CRASH_AT: 'publish.done-not-recorded' })
    const { id } = await server.deploy({ service: SERVICE, source: commit('v3') })
    await server.untilExit()
    await server.start()
    const settled = await server.settled(id)
    expect(settled.status, JSON.stringify(settled.error)).toBe('running')
    expect(JSON.stringify(await server.call('GET', `/v1/deployments/${id}/logs?limit=200`))).toMatch(/has sha256:[0-9a-f]{12} already/)
  }, 180_000)

  test('a registry that is away fails the deployment, and what is live keeps serving; garbage of it all goes', async () => {
    const before = (await server.service(SERVICE)).live
    await registry.kill()
    const { id } = await server.deploy({ service: SERVICE, source: commit('v4') })
    const failed = await server.settled(id)
    expect(failed).toMatchObject({ status: 'failed', error: { code: 'PUBLISH_FAILED' } })
    expect((await server.service(SERVICE)).live?.deploymentId).toBe(before?.deploymentId)
    await registry.start()
    const plan = await server.call('POST', '/v1/garbage?dryRun=true')
    expect(plan.dryRun).toBe(true)
    const collected = await server.call('POST', '/v1/garbage')
    expect(collected.kept).toBeGreaterThan(0)
    expect((await server.settled((await server.deploy({ service: SERVICE, source: commit('v5') })).id)).status).toBe('running')
  }, 240_000)
})
