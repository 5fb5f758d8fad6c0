import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmodSync, mkdtempSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { ContainerEngine } from '../../src/container-engine/engine.ts'
import { createContainerEngine } from '../../src/container-engine/http-engine.ts'
import { systemClock } from '../../src/core/clock.ts'
import { removeTree } from '../../src/core/remove-tree.ts'
import type { Artifact } from '../../src/domain/deployment.ts'
import type { Digest } from '../../src/domain/ids.ts'
import { createCredentialSource } from '../../src/registry/credentials.ts'
import { createEngineImages } from '../../src/registry/engine-images.ts'
import { createOciRegistry, type ImageEngine } from '../../src/registry/oci.ts'
import type { Registry } from '../../src/registry/registry.ts'
import { dockerRegistryMissing, REGISTRY_ACCOUNT, startDockerRegistry, type TestRegistry } from '../support/docker-registry.ts'
import { dockerdMissing, privateDockerd, sharedDockerd, type TestDockerd } from '../support/dockerd.ts'

/** The real registry of Debian and a real engine. */
const missing = dockerdMissing() ?? dockerRegistryMissing()
const signal = () => AbortSignal.timeout(120_000)
type ImageArtifact = Extract<Artifact, { kind: 'image' }>

describe.skipIf(missing !== null)('publishing', () => {
  let dockerd: TestDockerd
  let engine: ContainerEngine
  let images: ImageEngine
  let open: TestRegistry
  let closed: TestRegistry
  const directory = mkdtempSync('/tmp/sl-publish-')

  beforeAll(async () => {
    dockerd = await sharedDockerd()
    engine = createContainerEngine({ address: { kind: 'unix', path: dockerd.socket, text: dockerd.host } })
    images = createEngineImages(engine)
    open = await startDockerRegistry({ address: dockerd.network.hostAddress })
    closed = await startDockerRegistry({ address: dockerd.network.hostAddress, auth: true })
  }, 120_000)
  afterAll(async () => {
    await engine?.close()
    await open?.remove()
    await closed?.remove()
    await removeTree(directory)
  })

  /** An image of one layer of noise, in the engine under its id only. */
  async function image(kib = 64): Promise<ImageArtifact> {
    const root = mkdtempSync(join(directory, 'root-'))
    writeFileSync(join(root, 'noise'), randomBytes(kib * 1024))
    const tar = execFileSync('tar', ['-C', root, '-c', '.'], { maxBuffer: 1024 ** 3 })
    const { stdout } = await dockerd.docker(['import', '--change', 'CMD ["/noise"]', '-'], { input: tar })
    const digest = stdout.trim() as Digest
    return { kind: 'image', digest, reference: digest, command: null, exposedPorts: [] }
  }

  interface RegistryChanges {
    readonly username?: string | null
    readonly password?: string | null
    readonly file?: string | null
    readonly engine?: ImageEngine
    readonly isPatient?: boolean
  }
  function registryAt(registry: Pick<TestRegistry, 'host'>, changes: RegistryChanges = {}): Registry {
    const { username = null, password = null, file = null } = changes
    return createOciRegistry({
      prefix: { host: registry.host, path: 'apps' },
      isPlain: true,
      credentials: createCredentialSource({ username, password, file, host: registry.host }),
      engine: changes.engine ?? images,
      clock: changes.isPatient === true ? systemClock : { ...systemClock, sleep: async () => {} },
    })
  }
  const lines: string[] = []
  const publish = (registry: Registry, artifact: Artifact, repository = 'shop/api') => {
    lines.length = 0
    return registry.publish({ artifact, repository, onLine: (line) => lines.push(line), signal: signal() })
  }

  test('I7: an image is pushed by digest, and the digest that another host pulls is the one that was built', async () => {
    const artifact = await image()
    const published = await publish(registryAt(open), artifact)
    const reference = published.reference ?? ''
    expect(reference).toMatch(new RegExp(`^${open.host}/apps/shop/api@sha256:[0-9a-f]{64}$`))
    expect(published.isReused).toBeUndefined()
    expect(lines.join('\n')).toMatch(/layer .* pushed/)
    await dockerd.docker(['image', 'rm', '--force', artifact.digest])
    expect(await images.imageId(artifact.digest)).toBeNull()
    await dockerd.dockerText('pull', reference)
    expect(await images.imageId(reference)).toBe(artifact.digest)
  })

  test('publishing twice is success and sends nothing, even when the engine has lost the image', async () => {
    const artifact = await image()
    const first = await publish(registryAt(open), artifact)
    const pushes: string[] = []
    const watched: ImageEngine = { ...images, pushImage: (request) => (pushes.push(request.tag), images.pushImage(request)) }
    await dockerd.docker(['image', 'rm', '--force', artifact.digest])
    const second = await publish(registryAt(open, { engine: watched }), artifact)
    expect(second).toMatchObject({ reference: first.reference, isReused: true })
    const third = await publish(registryAt(open, { engine: watched }), { ...artifact, reference: first.reference ?? '' })
    expect(third).toMatchObject({ reference: first.reference, isReused: true })
    expect(pushes).toEqual([])
  })

  test('what a registry keeps is named by a tag, so that its garbage collection leaves it', async () => {
    const artifact = await image()
    await publish(registryAt(open), artifact, 'shop/tagged')
    const answer = await fetch(`http://${open.host}/v2/apps/shop/tagged/tags/list`)
    expect(await answer.json()).toMatchObject({ tags: [`shiplock-${artifact.digest.slice(7, 47)}`] })
  })

  test('I10: another project has a repository of its own', async () => {
    const artifact = await image()
    const one = await publish(registryAt(open), artifact, 'one/api')
    const two = await publish(registryAt(open), artifact, 'two/api')
    expect([one.reference, two.reference].map((reference) => reference?.split('@')[0])).toEqual([
      `${open.host}/apps/one/api`,
      `${open.host}/apps/two/api`,
    ])
  })

  test('with user and password, from the settings or from a private file', async () => {
    const artifact = await image()
    expect((await publish(registryAt(closed, REGISTRY_ACCOUNT), artifact)).reference).toContain(closed.host)
    const file = join(directory, 'auth.json')
    const auth = Buffer.from(`${REGISTRY_ACCOUNT.username}:${REGISTRY_ACCOUNT.password}`).toString('base64')
    writeFileSync(file, JSON.stringify({ auths: { [closed.host]: { auth } } }))
    chmodSync(file, 0o600)
    expect((await publish(registryAt(closed, { file }), artifact, 'shop/other')).reference).toContain(closed.host)
  })

  test('I8: a registry that refuses us is refused at once, with what to check, and the password stands nowhere', async () => {
    const artifact = await image()
    const attempts: string[] = []
    for (const account of [{}, { username: 'shiplock', password: 'wrong-password-4712' }]) {
      const failure = await publish(registryAt(closed, { ...account, isPatient: true }), artifact).catch((error: unknown) => error)
      expect(failure).toMatchObject({
        code: 'PUBLISH_FAILED',
        hint: expect.stringContaining('SHIPLOCK_REGISTRY_USER'),
        details: { kind: 'denied' },
      })
      attempts.push(JSON.stringify([failure, (failure as Error).message, ...lines]))
    }
    expect(attempts.join('\n')).not.toContain('wrong-password-4712')
    expect(await registryAt(closed).check?.(signal())).toMatchObject({ ok: false })
    expect(await registryAt(closed, REGISTRY_ACCOUNT).check?.(signal())).toMatchObject({ ok: true })
  })

  test('an engine that is refused where we were not says so the same way', async () => {
    const artifact = await image()
    const anonymous: ImageEngine = { ...images, pushImage: (request) => images.pushImage({ ...request, auth: 'e30=' }) }
    await expect(publish(registryAt(closed, { ...REGISTRY_ACCOUNT, engine: anonymous }), artifact)).rejects.toMatchObject({
      code: 'PUBLISH_FAILED',
      details: { kind: 'denied' },
    })
  })

  test('a registry that is down is asked again, then the deployment fails and says who was not there', async () => {
    const artifact = await image()
    const down = { host: `${dockerd.network.hostAddress}:1` }
    await expect(publish(registryAt(down), artifact)).rejects.toMatchObject({
      code: 'PUBLISH_FAILED',
      message: expect.stringContaining(`${down.host} could not be reached`),
      details: { kind: 'passing' },
    })
    expect(lines.filter((line) => line.startsWith('attempt '))).toHaveLength(5)
  })

  test('a registry that dies in the middle of a push and comes back has the whole image in the end', async () => {
    const artifact = await image(24 * 1024)
    const dying = await startDockerRegistry({ address: dockerd.network.hostAddress })
    try {
      let isKilled = false
      let back: Promise<void> | null = null
      const watched: ImageEngine = {
        ...images,
        pushImage: (request) =>
          images.pushImage({
            ...request,
            onMessage: (message) => {
              if (message.status === 'Pushing' && !isKilled) {
                isKilled = true
                back = dying.kill().then(() => dying.start())
              }
              request.onMessage(message)
            },
          }),
      }
      const published = await publish(registryAt(dying, { engine: watched, isPatient: true }), artifact)
      await back
      expect(isKilled).toBe(true)
      await dockerd.docker(['image', 'rm', '--force', artifact.digest])
      await dockerd.dockerText('pull', '--quiet', published.reference ?? '')
      expect(await images.imageId(published.reference ?? '')).toBe(artifact.digest)
    } finally {
      await dying.remove()
    }
  }, 120_000)

  test('one that dies and stays away fails the deployment; a registry that has another image under our digest is not believed', async () => {
    const artifact = await image()
    const dead: ImageEngine = {
      ...images,
      pushImage: async ({ onMessage }) => onMessage({ errorDetail: { message: 'Put "http://x/v2/": write: broken pipe' } }),
    }
    await expect(publish(registryAt(open, { engine: dead }), artifact)).rejects.toMatchObject({ details: { kind: 'passing' } })
    const other = await image()
    const swapped: ImageEngine = { ...images, tagImage: (_id, repository, tag) => images.tagImage(other.digest, repository, tag) }
    await expect(publish(registryAt(open, { engine: swapped }), artifact)).rejects.toMatchObject({
      message: expect.stringContaining('is another image'),
    })
  })

  test('I9: a repository that no registry could hold is refused before anything is sent', async () => {
    const artifact = await image(1)
    for (const repository of ['Shop/api', 'shop/../api', 'shop/api:latest', `shop/${'x'.repeat(300)}`]) {
      await expect(publish(registryAt(open), artifact, repository)).rejects.toMatchObject({ code: 'PUBLISH_FAILED' })
    }
  })

  test('a file tree is no image and stays in the artifact store', async () => {
    const tree: Artifact = { kind: 'tree', digest: `sha256:${'a'.repeat(64)}` as Digest, files: 1, bytes: 1 }
    expect(await publish(registryAt(open), tree)).toMatchObject({ reference: null, note: expect.stringContaining('artifact store') })
  })

  test('I7: a second host with an engine of its own pulls it by digest and has the same image', async () => {
    const artifact = await image()
    const { reference } = await publish(registryAt(closed, REGISTRY_ACCOUNT), artifact)
    const far = await privateDockerd()
    const farEngine = createContainerEngine({ address: { kind: 'unix', path: far.socket, text: far.host } })
    try {
      const { username, password } = REGISTRY_ACCOUNT
      const config = mkdtempSync(join(directory, 'docker-'))
      writeFileSync(
        join(config, 'config.json'),
        JSON.stringify({ auths: { [closed.host]: { auth: Buffer.from(`${username}:${password}`).toString('base64') } } }),
      )
      await far.dockerText('--config', config, 'pull', '--quiet', reference ?? '')
      expect(await createEngineImages(farEngine).imageId(reference ?? '')).toBe(artifact.digest)
    } finally {
      await farEngine.close()
      await far.remove()
    }
  }, 120_000)
})
