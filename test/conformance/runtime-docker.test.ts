import { describe } from 'vitest'
import { importBaseImage } from '../support/base-images.ts'
import { type DockerHarness, dockerHarness, serverImage } from '../support/docker-harness.ts'
import { dockerdMissing, sharedDockerd } from '../support/dockerd.ts'
import { dockerLogsSuite } from './runtime-docker-logs-suite.ts'
import { dockerSuite } from './runtime-docker-suite.ts'
import { runtimeSuite } from './runtime-suite.ts'

async function onSharedEngine(): Promise<DockerHarness> {
  const dockerd = await sharedDockerd()
  await importBaseImage(dockerd, 'busybox')
  return dockerHarness(dockerd, await serverImage(dockerd))
}

describe.skipIf(dockerdMissing() !== null)('containers', () => {
  runtimeSuite('docker', onSharedEngine, true)
  dockerSuite(onSharedEngine)
  dockerLogsSuite(onSharedEngine)
})
