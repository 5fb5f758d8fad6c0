import { mkdtempSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { ContainerEngine } from '../../src/container-engine/engine.ts'
import { createContainerEngine } from '../../src/container-engine/http-engine.ts'
import { systemClock } from '../../src/core/clock.ts'
import { silentLogger } from '../../src/core/log.ts'
import { removeTree } from '../../src/core/remove-tree.ts'
import { traefikLabels } from '../../src/edge/traefik/labels.ts'
import { createCredentialSource } from '../../src/registry/credentials.ts'
import { createEngineImages } from '../../src/registry/engine-images.ts'
import { createOciRegistry } from '../../src/registry/oci.ts'
import { createImagePuller } from '../../src/registry/pull-image.ts'
import { DockerRuntime } from '../../src/runtimes/docker/docker-runtime.ts'
import { serverImage } from '../support/docker-harness.ts'
import { dockerRegistryMissing, REGISTRY_ACCOUNT, startDockerRegistry, type TestRegistry } from '../support/docker-registry.ts'
import { dockerdMissing, privateDockerd, sharedDockerd, type TestDockerd } from '../support/dockerd.ts'
import { instanceSpec } from '../support/runtime-harness.ts'

const missing = dockerdMissing() ?? dockerRegistryMissing()

describe.skipIf(missing !== null)('what was published, on a host that did not build it', () => {
  let registry: TestRegistry
  let far: TestDockerd
  let engine: ContainerEngine
  let runtime: DockerRuntime
  const directory = mkdtempSync('/tmp/sl-far-')
  const credentials = () => createCredentialSource({ ...REGISTRY_ACCOUNT, file: null, host: registry.host })

  beforeAll(async () => {
    far = await privateDockerd()
    registry = await startDockerRegistry({ address: far.network.hostAddress, auth: true })
    engine = createContainerEngine({ address: { kind: 'unix', path: far.socket, text: far.host } })
    const labels = { network: 'traefik', entryPoints: ['web'], certResolver: null }
    runtime = await DockerRuntime.open({
      engine,
      stateDirectory: directory,
      logger: silentLogger,
      reach: 'container',
      fetchImage: createImagePuller(engine, credentials()),
      front: { network: 'traefik', labelsFor: (id, host, port) => traefikLabels(id, host, port, labels) },
    })
  }, 180_000)
  afterAll(async () => {
    await runtime?.close()
    await engine?.close()
    await registry?.remove()
    await far?.remove()
    await removeTree(directory)
  })

  test('I7: runs by the digest that was built, with the labels and in the network that Traefik looks at', async () => {
    const near = await sharedDockerd()
    const nearEngine = createContainerEngine({ address: { kind: 'unix', path: near.socket, text: near.host } })
    const built = await serverImage(near)
    const publisher = createOciRegistry({
      prefix: { host: registry.host, path: 'apps' },
      isPlain: true,
      credentials: credentials(),
      engine: createEngineImages(nearEngine),
      clock: systemClock,
    })
    const signal = AbortSignal.timeout(120_000)
    const { reference } = await publisher.publish({ artifact: built, repository: 'shop/api', onLine: () => {}, signal })
    await nearEngine.close()
    const artifact = { ...built, reference: reference ?? '' }
    const spec = instanceSpec({ artifact, artifactDirectory: null, startCommands: [], port: 8080, host: 'api.example.com' })
    await expect(runtime.start(spec, 1, signal)).rejects.toMatchObject({
      code: 'LAUNCH_FAILED',
      message: expect.stringContaining('network traefik'),
    })
    await far.dockerText('network', 'create', 'traefik')
    expect(await runtime.start(spec, 2, signal)).toMatchObject({ state: 'running' })
    const [container = ''] = (await far.dockerText('ps', '--quiet', '--no-trunc')).split('\n')
    const facts = JSON.parse(await far.dockerText('inspect', container))[0]
    expect(facts.Image).toBe(built.digest)
    expect(facts.Config.Labels).toMatchObject({ 'traefik.enable': 'true', 'traefik.docker.network': 'traefik' })
    expect(Object.values(facts.Config.Labels)).toContain('Host(`api.example.com`)')
    expect(Object.keys(facts.NetworkSettings.Networks)).toContain('traefik')
    await runtime.remove(spec.id, 3)
    expect(await runtime.pruneNetworks()).toBe(0)
  }, 180_000)

  test('what the registry no longer has is said, and nothing starts', async () => {
    const artifact = {
      ...{ kind: 'image' as const, digest: `sha256:${'e'.repeat(64)}` as never, command: null, exposedPorts: [] },
      reference: `${registry.host}/apps/shop/api@sha256:${'e'.repeat(64)}`,
    }
    const spec = instanceSpec({ artifact, artifactDirectory: null, startCommands: [], port: 8080 })
    await expect(runtime.start(spec, 1, AbortSignal.timeout(60_000))).rejects.toMatchObject({
      code: 'LAUNCH_FAILED',
      message: expect.stringContaining('could not be pulled'),
    })
  }, 120_000)
})
