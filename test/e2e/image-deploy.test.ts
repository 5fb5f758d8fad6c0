import { cpSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { askService } from '../support/ask-service.ts'
import { importBaseImage } from '../support/base-images.ts'
import { runCli } from '../support/cli.ts'
import { dockerRegistryMissing, REGISTRY_ACCOUNT, startDockerRegistry, type TestRegistry } from '../support/docker-registry.ts'
import { dockerdMissing, sharedDockerd, type TestDockerd } from '../support/dockerd.ts'
import { GitRepo } from '../support/git-repo.ts'
import { disposeServers, startTestServer, type TestServer } from '../support/server.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

const missing = dockerdMissing() ?? dockerRegistryMissing()
const EXAMPLE = join(import.meta.dirname, '../../examples/dockerfile')
const APP = `const version = process.env.VERSION; require('http').createServer((q, s) => { s.setHeader('x-version', version); s.end(version + ' ' + Object.keys(process.env).includes('REGISTRY_AUTH')) }).listen(process.env.PORT)`

describe.skipIf(missing !== null)(`images, deployed by a real server${missing === null ? '' : ` (${missing})`}`, () => {
  let dockerd: TestDockerd
  let server: TestServer
  let registry: TestRegistry
  let closed: TestRegistry

  beforeAll(async () => {
    dockerd = await sharedDockerd()
    const address = dockerd.network.hostAddress
    ;[registry, closed] = await Promise.all([startDockerRegistry({ address }), startDockerRegistry({ address, auth: true })])
    await Promise.all([importBaseImage(dockerd, 'node'), importBaseImage(dockerd, 'busybox')])
    server = await startTestServer({
      env: {
        SHIPLOCK_CONTAINER_ENGINE: dockerd.host,
        SHIPLOCK_CONTAINER_ADDRESS: 'container',
        SHIPLOCK_SCAN_WITHOUT_SCANNER: 'warn',
      },
    })
  })
  afterAll(async () => {
    await disposeServers()
    await registry?.remove()
    await closed?.remove()
  })

  const cli = (...args: string[]) =>
    runCli({ dataDirectory: server.dataDirectory, apiPort: 0, edgePort: server.edgePort }, args, {
      env: { SHIPLOCK_URL: server.apiUrl, SHIPLOCK_TOKEN: server.token },
    })

  /** Deploys and waits until it serves; its bake goes on. */
  async function serving(request: Parameters<TestServer['deploy']>[0]) {
    const { id } = await server.deploy(request)
    const deployment = await server.waitFor(id, ({ status, settled }) => status === 'running' || settled)
    expect(deployment.error).toBeNull()
    return deployment
  }

  /** An image of a small app, in a registry; the engine forgets it. Resolves with its digest there. */
  async function pushed(host: string, name: string, version: string): Promise<string> {
    const tag = `${host}/${name}`
    const dockerfile = `FROM node:20-slim\nENV VERSION=${version}\nEXPOSE 8080\nCMD ["node", "-e", ${JSON.stringify(APP)}]\n`
    const built = await dockerd.docker(['build', '-q', '-t', tag, '-'], { input: dockerfile })
    expect(built.exitCode, built.stderrTail.join('\n')).toBe(0)
    await dockerd.dockerText('push', '-q', tag)
    const digest = (await dockerd.dockerText('image', 'inspect', '-f', '{{index .RepoDigests 0}}', tag)).split('@')[1] ?? ''
    await dockerd.dockerText('rmi', '-f', tag)
    return digest
  }

  test('the example with a Dockerfile answers on its URL; an unchanged one is not built again', async () => {
    const directory = temporaryDirectory()
    cpSync(EXAMPLE, directory, { recursive: true })
    const first = await cli('deploy', directory, '--service', 'example')
    expect(first.code, first.stdout + first.stderr).toBe(0)
    expect(first.stdout).toContain('Dockerfile')
    expect(await askService(server.edgePort, 'example')).toMatchObject({
      status: 200,
      body: expect.stringMatching(/Hello from a container\nrelease v?1, .*user 1000/),
    })
    const again = await cli('deploy', directory, '--service', 'example', '--json')
    expect(again.code).toBe(0)
    const { deployments } = JSON.parse(again.stdout)
    const log = (await server.logLines(deployments[0].id)).map((line) => line.text).join('\n')
    expect(log).not.toContain('BuildKit')
    expect((await askService(server.edgePort, 'example')).body).toMatch(/release v?2/)
  })

  test('a ready image is deployed by tag, and stays the one it was when the tag moves', async () => {
    const reference = `${registry.host}/acme/ready:1`
    const digest = await pushed(registry.host, 'acme/ready:1', 'one')
    const deployed = await serving({ service: 'ready', source: { kind: 'image', reference } })
    expect(deployed.revision).toEqual({ kind: 'image', digest, reference: `${reference}@${digest}` })
    expect((await server.ask('ready', '/')).version).toBe('one')
    const other = await pushed(registry.host, 'acme/ready:1', 'two')
    expect(other).not.toBe(digest)
    await serving({ service: 'ready', source: { kind: 'image', reference } })
    expect((await server.ask('ready', '/')).version).toBe('two')
    const { id } = await server.rollback({ service: 'ready' })
    expect(await server.waitFor(id, ({ status, settled }) => status === 'running' || settled)).toMatchObject({ status: 'running' })
    expect((await server.ask('ready', '/')).version).toBe('one')
  })

  test('a ready image is deployed by digest, and by the command line', async () => {
    const digest = await pushed(registry.host, 'acme/exact:1', 'exact')
    const reference = `${registry.host}/acme/exact@${digest}`
    const result = await cli('deploy', '--image', reference)
    expect(result.code, result.stdout + result.stderr).toBe(0)
    expect((await server.ask('exact', '/')).version).toBe('exact')
  })

  test('a private image needs credentials of the project, which the app does not see', async () => {
    const account = `${REGISTRY_ACCOUNT.username}:${REGISTRY_ACCOUNT.password}`
    const login = await dockerd.docker(['login', '-u', REGISTRY_ACCOUNT.username, '--password-stdin', closed.host], {
      input: REGISTRY_ACCOUNT.password,
    })
    expect(login.exitCode).toBe(0)
    await pushed(closed.host, 'acme/closed:1', 'closed')
    const source = { kind: 'image', reference: `${closed.host}/acme/closed:1` }
    const { id } = await server.deploy({ service: 'closed', source })
    const refused = await server.settled(id)
    expect(refused).toMatchObject({
      status: 'failed',
      error: { code: 'IMAGE_NOT_FOUND', stage: 'fetch', hint: expect.stringContaining('REGISTRY_AUTH') },
    })
    const auths = { auths: { [closed.host]: { auth: Buffer.from(account).toString('base64') } } }
    await server.call('PUT', '/v1/variables', { service: 'closed', secret: true, variables: { REGISTRY_AUTH: JSON.stringify(auths) } })
    await serving({ service: 'closed', source })
    expect(await server.ask('closed', '/')).toMatchObject({ version: 'closed', body: 'closed false' })
    await dockerd.docker(['logout', closed.host])
  })

  test('I10: what one project may pull from a closed registry is not open to the next because the engine has it', async () => {
    await server.call('POST', '/v1/projects', { name: 'other' })
    const source = { kind: 'image', reference: `${closed.host}/acme/closed:1` }
    const { id } = await server.deploy({ project: 'other', service: 'thief', source } as never)
    expect(await server.settled(id)).toMatchObject({ status: 'failed', error: { code: 'IMAGE_NOT_FOUND' } })
  })

  test.for([
    ['that no registry has', 'HOST/acme/nothing:1', 'IMAGE_NOT_FOUND'],
    ['of a registry that does not answer', 'ADDRESS:9/acme/x:1', 'SOURCE_UNREACHABLE'],
  ] as const)('an image %s is refused before anything starts', async ([, reference, code]) => {
    const { id } = await server.deploy({
      service: 'nothing',
      source: { kind: 'image', reference: reference.replace('HOST', registry.host).replace('ADDRESS', dockerd.network.hostAddress) },
    })
    const { status, error } = await server.settled(id, 120_000)
    expect(status).toBe('failed')
    expect(error, error?.message).toMatchObject({ code, stage: 'fetch' })
  })

  test('I9: what is no image reference is refused before it is queued', async () => {
    for (const reference of ['--help', 'UPPER/case', 'a b', 'http://x/y']) {
      const reply = await server.api('POST', '/v1/deployments', { service: 'bad', source: { kind: 'image', reference } })
      expect(reply, reference).toMatchObject({ status: 422, body: { code: 'IMAGE_REFUSED' } })
    }
  })

  test('an image for another platform is refused with both platforms in the message', async () => {
    const tag = `${registry.host}/acme/arm:1`
    const built = await dockerd.docker(['build', '-q', '--platform', 'linux/arm64', '-t', tag, '-'], {
      input: 'FROM scratch\nLABEL x=1\nCMD ["/x"]\n',
    })
    expect(built.exitCode, built.stderrTail.join('\n')).toBe(0)
    await dockerd.dockerText('push', '-q', tag)
    const { id } = await server.deploy({ service: 'arm', source: { kind: 'image', reference: tag } })
    expect(await server.settled(id)).toMatchObject({
      status: 'failed',
      error: { code: 'IMAGE_REFUSED', message: expect.stringMatching(/is for linux\/arm64, and this server’s engine runs linux\//) },
    })
  })

  test('an image that only the engine has is taken by its id', async () => {
    const built = await dockerd.docker(['build', '-q', '-t', 'only-local:1', '-'], {
      input: `FROM node:20-slim\nENV VERSION=local\nCMD ["node", "-e", ${JSON.stringify(APP)}]\n`,
    })
    expect(built.exitCode).toBe(0)
    const repo = new GitRepo(temporaryDirectory())
    repo.commit('v1', { 'shiplock.yaml': 'services: { local: { build: { image: only-local:1 }, run: { port: 8080 } } }' })
    await serving({ service: 'local', source: { kind: 'git', url: `file://${repo.directory}`, ref: null } })
    expect((await server.ask('local', '/')).version).toBe('local')
  })
})
