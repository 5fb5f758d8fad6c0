import { describe, expect, onTestFinished, test } from 'vitest'
import { importBaseImage } from '../support/base-images.ts'
import { type DockerHarness, dockerHarness, serverImage } from '../support/docker-harness.ts'
import { dockerdMissing, sharedDockerd } from '../support/dockerd.ts'
import { dockerLogsSuite } from './runtime-docker-logs-suite.ts'
import { dockerSuite } from './runtime-docker-suite.ts'
import { get, never, runtimeSuite } from './runtime-suite.ts'

async function onSharedEngine(): Promise<DockerHarness> {
  const dockerd = await sharedDockerd()
  await importBaseImage(dockerd, 'busybox')
  return dockerHarness(dockerd, await serverImage(dockerd))
}

describe.skipIf(dockerdMissing() !== null)('containers', () => {
  runtimeSuite('docker', onSharedEngine, true)
  dockerSuite(onSharedEngine)
  dockerLogsSuite(onSharedEngine)

  test('instances are reached at a published port where their own address is out of reach', async () => {
    const dockerd = await sharedDockerd()
    const address = dockerd.network.innerAddress
    const harness = await dockerHarness(dockerd, await serverImage(dockerd), { address })
    onTestFinished(async () => expect(await harness.close()).toEqual([]))
    const [one, two] = await Promise.all([0, 1].map(() => harness.runtime.start(harness.instanceSpec(), 1, never())))
    expect([one, two]).toMatchObject([{ address: { host: address } }, { address: { host: address } }])
    expect(one).not.toEqual(two)
    for (const status of [one, two]) if (status !== undefined) expect(await get(status, '/')).toContain('hello from ins_')
  })

  test('by default they are published on loopback only, when the bridge is not on this host', async () => {
    const dockerd = await sharedDockerd()
    const harness = await dockerHarness(dockerd, await serverImage(dockerd), 'auto')
    onTestFinished(async () => expect(await harness.close()).toEqual([]))
    const status = await harness.runtime.start(harness.instanceSpec(), 1, never())
    expect(status).toMatchObject({ state: 'running', address: { host: '127.0.0.1', port: expect.any(Number) } })
  })
})
