import { randomBytes } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { never } from '../conformance/runtime-suite.ts'
import { type DockerHarness, dockerHarness, imageOf, serverImage } from '../support/docker-harness.ts'
import { dockerdMissing, sharedDockerd, type TestDockerd } from '../support/dockerd.ts'
import { eventually } from '../support/eventually.ts'

interface Inspected {
  readonly Config: { readonly Labels: Readonly<Record<string, string>>; readonly Healthcheck?: { readonly Test: readonly string[] } }
  readonly HostConfig: { readonly PortBindings: unknown; readonly PublishAllPorts: boolean; readonly Binds: unknown }
  readonly Mounts: readonly { readonly Type: string; readonly Name: string }[]
  readonly State: { readonly Health?: unknown }
}

/** What an image brings along is the word of whoever made it. */
describe.skipIf(dockerdMissing() !== null)('what an image says of itself moves nothing on the host', () => {
  let dockerd: TestDockerd
  let harness: DockerHarness
  beforeEach(async () => {
    dockerd = await sharedDockerd()
    harness = await dockerHarness(dockerd, await serverImage(dockerd))
  })
  afterEach(async () => expect(await harness.close()).toEqual([]))

  const start = async (lines: string) => {
    const name = `shiplock-test/hostile:${randomBytes(4).toString('hex')}`
    const artifact = await imageOf(dockerd, name, `FROM shiplock-test/server:1\n${lines}`)
    const spec = harness.instanceSpec({ artifact })
    await harness.runtime.start(spec, 1, never())
    const path = `/containers/shiplock-${harness.runtime.owner}-${spec.id}/json`
    return { spec, inspect: () => harness.engine.json<Inspected>('GET', path) }
  }

  test('I13: labels reach no program that acts on labels: each of the image is blank, ours stand', async () => {
    const { inspect, spec } = await start(
      'LABEL traefik.enable=true traefik.http.routers.evil.rule="Host(`api-beta.localhost`)" traefik.http.routers.evil.priority=99999\n' +
        'LABEL com.centurylinklabs.watchtower.enable=true ofelia.enabled=true com.docker.compose.project=beta caddy=api-beta.localhost\n' +
        'LABEL shiplock.owner=somebody shiplock.id=ins_other shiplock.made-up=yes org.opencontainers.image.title=evil\n',
    )
    const { Labels } = (await inspect()).Config
    const own = Object.entries(Labels).filter(([, value]) => value !== '')
    expect(own.map(([name]) => name).filter((name) => !name.startsWith('shiplock.'))).toEqual([])
    expect(Labels).toMatchObject({ 'shiplock.owner': harness.runtime.owner, 'shiplock.id': spec.id, 'shiplock.made-up': '' })
    expect(Labels['traefik.enable']).toBe('')
  })

  test('I13: a HEALTHCHECK starts no processes, EXPOSE publishes no port, a VOLUME goes with its container', async () => {
    const { inspect, spec } = await start(
      'HEALTHCHECK --interval=1s --retries=1 CMD ["false"]\nEXPOSE 22 8080 9000-9010\nVOLUME ["/data", "/etc"]\nSTOPSIGNAL SIGKILL\n',
    )
    const facts = await inspect()
    expect(facts.Config.Healthcheck?.Test).toEqual(['NONE'])
    expect(facts.State.Health).toBeUndefined()
    expect(facts.HostConfig).toMatchObject({ PublishAllPorts: false })
    expect(facts.HostConfig.PortBindings ?? {}).toEqual({})
    const volumes = facts.Mounts.filter(({ Type }) => Type === 'volume').map(({ Name }) => Name)
    expect(volumes).toHaveLength(2)
    await harness.runtime.remove(spec.id, 2)
    await eventually(async () => {
      const left = (await dockerd.dockerText('volume', 'ls', '--quiet')).split('\n')
      expect(volumes.filter((name) => left.includes(name))).toEqual([])
    })
  })
})
