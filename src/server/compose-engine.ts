import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Settings } from '../config/settings.ts'
import type { ContainerEngine } from '../container-engine/engine.ts'
import { type EngineAddress, findEngine, parseEngineAddress } from '../container-engine/engine-address.ts'
import { createContainerEngine } from '../container-engine/http-engine.ts'
import { writeFileAtomic } from '../core/atomic-file.ts'
import { systemClock } from '../core/clock.ts'
import { ShiplockError } from '../core/errors.ts'
import type { Logger } from '../core/log.ts'
import type { ServiceEnvironmentId } from '../domain/ids.ts'
import { traefikLabels } from '../edge/traefik/labels.ts'
import { Periodic } from '../engine/periodic.ts'
import { createImagePuller } from '../registry/pull-image.ts'
import { ByArtifactRuntime } from '../runtimes/by-artifact.ts'
import { DockerRuntime } from '../runtimes/docker/docker-runtime.ts'
import type { ProcessRuntime } from '../runtimes/process/process-runtime.ts'
import type { Runtime } from '../runtimes/runtime.ts'
import { registryCredentials } from './compose-registry.ts'

const PING_PERIOD_MS = 5000
const PING_MS = 2000

/**
 * The container engine of this server; null when none is wanted. One that is away at the start (the host boots) is known all the same,
 * by what was used last; where there never was one, the first usual place is looked at from time to time.
 */
export async function composeEngine(settings: Settings): Promise<ContainerEngine | null> {
  if (settings.runtime === 'process') return null
  const directory = containerDirectory(settings)
  await mkdir(directory, { recursive: true, mode: 0o711 })
  const address = findEngine(settings.containerEngine) ?? (await lastUsed(directory)) ?? firstOf(settings.containerEngine)
  return address === null ? null : createContainerEngine({ address })
}

/** Everything runs where the settings say; `begin` takes up what earlier servers left, `stop` lets go. */
export async function composeRuntime(
  settings: Settings,
  logger: Logger,
  parts: { readonly trees: ProcessRuntime; readonly engine: ContainerEngine | null },
): Promise<{ readonly runtime: Runtime; readonly containers: DockerRuntime | null; begin(): Promise<void>; stop(): Promise<void> }> {
  const { engine, trees } = parts
  if (engine === null) {
    if (settings.runtime !== 'docker') return { runtime: trees, containers: null, begin: async () => {}, stop: async () => {} }
    throw new ShiplockError('INPUT_INVALID', 'SHIPLOCK_RUNTIME is docker, and SHIPLOCK_CONTAINER_ENGINE is none', {
      hint: 'Name an engine, or use SHIPLOCK_RUNTIME=auto.',
    })
  }
  const stateDirectory = containerDirectory(settings)
  const fetchImage = createImagePuller(engine, registryCredentials(settings))
  const images = await DockerRuntime.prepare({
    engine,
    stateDirectory,
    logger,
    reach: settings.containerAddress,
    instanceDiskMb: settings.instanceDiskMb,
    fetchImage,
    front: frontLabels(settings),
  })
  const ping = async () => {
    const was = engine.isReachable
    await engine.json('GET', '/version', { isRepeatable: false, timeoutMs: PING_MS }).catch(() => {})
    if (engine.isReachable === was) return
    if (engine.isReachable) await writeFileAtomic(join(stateDirectory, 'engine'), `${engine.address}\n`)
    logger.info(engine.isReachable ? 'the container engine answers' : 'the container engine does not answer', { engine: engine.address })
  }
  await ping()
  const pinging = new Periodic('engine watch', PING_PERIOD_MS, { clock: systemClock, logger }, ping)
  await pinging.start()
  const stop = async () => {
    await pinging.stop()
    await images.close()
    await engine.close()
  }
  const prefersImages = settings.runtime === 'docker'
  const runtime = new ByArtifactRuntime({ trees, images, isReachable: () => engine.isReachable, prefersImages })
  return { runtime, containers: images, begin: () => images.begin(), stop }
}

/** For a Traefik that finds containers by itself. */
function frontLabels({ traefikNetwork: network, traefikEntryPoints: entryPoints, traefikCertResolver: certResolver }: Settings) {
  if (network === null) return null
  const labels = { network, entryPoints, certResolver }
  return { network, labelsFor: (id: ServiceEnvironmentId, host: string, port: number) => traefikLabels(id, host, port, labels) }
}

function containerDirectory(settings: Settings): string {
  return join(settings.dataDirectory, 'containers')
}

async function lastUsed(directory: string): Promise<EngineAddress | null> {
  const text = await readFile(join(directory, 'engine'), 'utf8').catch(() => '')
  return firstOf([text.trim()])
}

function firstOf(candidates: readonly string[]): EngineAddress | null {
  for (const candidate of candidates) {
    const address = parseEngineAddress(candidate)
    if (!('problem' in address)) return address
  }
  return null
}
