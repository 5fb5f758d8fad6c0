import { describe } from 'vitest'
import { type DockerHarness, dockerHarness, serverImage } from '../support/docker-harness.ts'
import { dockerdMissing, sharedDockerd } from '../support/dockerd.ts'
import { runtimeSuite } from './runtime-suite.ts'

async function onSharedEngine(): Promise<DockerHarness> {
  const dockerd = await sharedDockerd()
  return dockerHarness(dockerd, await serverImage(dockerd))
}

describe.skipIf(dockerdMissing() !== null)('containers', () => {
  runtimeSuite('docker', onSharedEngine, true)
})
