import { mkdtempSync, realpathSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ContainerEngine } from '../../src/container-engine/engine.ts'
import { findEngine } from '../../src/container-engine/engine-address.ts'
import { createContainerEngine } from '../../src/container-engine/http-engine.ts'
import { silentLogger } from '../../src/core/log.ts'
import { removeTree } from '../../src/core/remove-tree.ts'
import type { Artifact } from '../../src/domain/deployment.ts'
import type { Digest } from '../../src/domain/ids.ts'
import type { ReachSetting } from '../../src/runtimes/docker/container-launcher.ts'
import { DockerRuntime } from '../../src/runtimes/docker/docker-runtime.ts'
import type { InstanceSpec, Runtime, TaskSpec } from '../../src/runtimes/runtime.ts'
import { importBaseImage } from './base-images.ts'
import type { TestDockerd } from './dockerd.ts'
import { APPS, instanceSpec, type RuntimeHarness, taskSpec } from './runtime-harness.ts'

export type ImageArtifact = Extract<Artifact, { kind: 'image' }>

/** Adds to `base` what the lines of a Dockerfile say; the image as a release would name it. The context is `test/support/apps`. */
export async function imageOf(dockerd: TestDockerd, name: string, dockerfile: string): Promise<ImageArtifact> {
  const built = await dockerd.docker(['build', '--quiet', '--tag', name, '--file', '-', APPS], { input: dockerfile })
  if (built.exitCode !== 0) throw new Error(`the image ${name} could not be made: ${built.stderrTail.join('\n')}`)
  const id = await dockerd.dockerText('image', 'inspect', '--format', '{{.Id}}', name)
  return { kind: 'image', digest: id as Digest, reference: name, command: null, exposedPorts: [] }
}

/** `apps/server.mjs` in an image. */
export async function serverImage(dockerd: TestDockerd): Promise<ImageArtifact> {
  const base = await importBaseImage(dockerd, 'node')
  return imageOf(
    dockerd,
    'shiplock-test/server:1',
    `FROM ${base}\nWORKDIR /app\nCOPY server.mjs .\nENV HOST=0.0.0.0\nEXPOSE 8080\nCMD ["node", "server.mjs"]\n`,
  )
}

export interface DockerHarness extends RuntimeHarness {
  readonly runtime: DockerRuntime
  readonly engine: ContainerEngine
  readonly instanceSpec: (overrides?: Partial<InstanceSpec>) => InstanceSpec
  readonly taskSpec: (overrides?: Partial<TaskSpec>) => TaskSpec
  reopen(): Promise<Runtime & DockerRuntime>
  /** A runtime with another state directory in the same engine: another server's. */
  stranger(): Promise<DockerRuntime>
  /** A runtime on the same state that waits longer for its engine. The former one must not be used meanwhile. */
  patient(): Promise<DockerRuntime>
  /** Everything that is known of instances and tasks is gone; who this is stays. */
  loseRecords(): Promise<void>
  readState(path: string): Promise<string>
}

/** A docker runtime with a state directory of its own in a test engine; `close` tells of containers and networks that stayed. */
export async function dockerHarness(
  dockerd: TestDockerd,
  artifact: ImageArtifact,
  reach: ReachSetting = 'container',
): Promise<DockerHarness> {
  const stateDirectory = realpathSync(mkdtempSync(join(tmpdir(), 'shiplock-docker-')))
  const address = findEngine([dockerd.host])
  if (address === null) throw new Error(`there is no engine at ${dockerd.host}`)
  const engine = createContainerEngine({ address, retryMs: 500 })
  const open = () => DockerRuntime.open({ engine, stateDirectory, logger: silentLogger, reach })
  let runtime = await open()
  const image = { artifact, artifactDirectory: null }
  return {
    stateDirectory,
    engine,
    sandbox: null,
    get runtime() {
      return runtime
    },
    instanceSpec: (overrides = {}) => instanceSpec({ ...image, startCommands: [], ...overrides }),
    taskSpec: (overrides = {}) => taskSpec({ ...image, ...overrides }),
    stranger: () => DockerRuntime.open({ engine, stateDirectory: join(stateDirectory, 'other'), logger: silentLogger, reach }),
    patient: () => {
      const engine = createContainerEngine({ address, retryMs: 60_000 })
      return DockerRuntime.open({ engine, stateDirectory, logger: silentLogger, reach })
    },
    loseRecords: () => removeTree(join(stateDirectory, 'instances')),
    readState: (path) => readFile(join(stateDirectory, path), 'utf8'),
    reopen: async () => {
      await runtime.close()
      runtime = await open()
      return runtime
    },
    close: async () => {
      for (const { id } of await runtime.list()) await runtime.remove(id, Number.MAX_SAFE_INTEGER)
      await runtime.close()
      const left = await leftovers(engine, runtime.owner)
      await engine.close()
      await removeTree(stateDirectory)
      return left
    },
  }
}

async function leftovers(engine: ContainerEngine, owner: string): Promise<readonly string[]> {
  const filters = JSON.stringify({ label: [`shiplock.owner=${owner}`] })
  const containers = await engine.json<{ Id: string; Names: string[] }[]>('GET', '/containers/json', { query: { all: true, filters } })
  for (const { Id } of containers) await engine.json('DELETE', `/containers/${Id}`, { query: { force: true } })
  const networks = await engine.json<{ Id: string; Name: string }[]>('GET', '/networks', { query: { filters } })
  for (const { Id } of networks) await engine.json('DELETE', `/networks/${Id}`)
  return [...containers.map((entry) => entry.Names.join()), ...networks.map((entry) => entry.Name)]
}
