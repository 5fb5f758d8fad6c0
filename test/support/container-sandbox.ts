import { randomBytes } from 'node:crypto'
import { ContainerSandbox } from '../../src/builders/containers/container-sandbox.ts'
import type { BaseOverrides } from '../../src/builders/recipe/bases.ts'
import { createContainerEngine } from '../../src/container-engine/http-engine.ts'
import { importBaseImage } from './base-images.ts'
import { sharedDockerd, type TestDockerd } from './dockerd.ts'

/** Bases of tests: what can't be pulled is made from this host's programs. */
export const TEST_BASES: BaseOverrides = new Map([
  ['debian', 'shiplock-test/node:20'],
  ['nodejs', 'shiplock-test/node:20'],
  [`nodejs@${process.versions.node.split('.')[0]}`, 'shiplock-test/node:20'],
  ['static', 'shiplock-test/busybox:1'],
])

/** Build sandboxes as containers of the run's private engine. */
export async function createTestContainerSandbox(): Promise<ContainerSandbox> {
  const dockerd = await sharedDockerd()
  await importBaseImage(dockerd, 'node')
  await importBaseImage(dockerd, 'busybox')
  const engine = createContainerEngine({ address: { kind: 'unix', path: dockerd.socket, text: dockerd.host } })
  return new ContainerSandbox({ engine, owner: randomBytes(6).toString('hex'), userOf: async () => 200_123, ownsFiles: true })
}

/** Settings of a server that runs everything in containers of that engine, which has the bases of tests then. */
export async function containerSettings(dockerd: TestDockerd): Promise<Record<string, string>> {
  for (const kind of ['node', 'busybox'] as const) await importBaseImage(dockerd, kind)
  return {
    SHIPLOCK_RUNTIME: 'docker',
    SHIPLOCK_CONTAINER_ENGINE: dockerd.host,
    // The engine's bridges are in a network namespace of their own.
    SHIPLOCK_CONTAINER_ADDRESS: 'container',
    SHIPLOCK_BASES: [...TEST_BASES].map(([base, image]) => `${base}=${image}`).join(','),
  }
}
