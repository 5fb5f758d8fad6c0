import { ShiplockError } from '../core/errors.ts'
import type { Artifact } from '../domain/deployment.ts'
import type { ServiceEnvironmentId } from '../domain/ids.ts'
import type { ServiceConfig } from '../domain/service-config.ts'
import type { RuntimeSupport } from '../runtimes/runtime.ts'
import type { Drivers, StageContext } from './stage.ts'

export function artifactOf(context: StageContext): Artifact {
  const artifact = context.release?.artifact ?? context.facts.artifact
  if (artifact === null) throw new Error('a stage ran before there was an artifact')
  return artifact
}

/** Where the tree is stored; null for images. A stored tree that vanished is a clear refusal, not a crash of the app (I7). */
export async function artifactDirectoryOf(drivers: Pick<Drivers, 'artifacts'>, artifact: Artifact): Promise<string | null> {
  if (artifact.kind === 'image') return null
  const directory = await drivers.artifacts.find(artifact.digest)
  if (directory === null) {
    throw new ShiplockError('ROLLBACK_UNAVAILABLE', `the artifact ${artifact.digest} is no longer in the store`, {
      hint: 'Deploy the commit again with --rebuild.',
    })
  }
  return directory
}

/** The runtime layer of that artifact and the programs of its base. One that vanished is a clear refusal, as above. */
export async function runtimeSupportOf(
  drivers: Pick<Drivers, 'runtimeLayers'>,
  id: ServiceEnvironmentId,
  artifact: Artifact,
  { run }: Pick<ServiceConfig, 'run'>,
): Promise<{ readonly support?: RuntimeSupport }> {
  const layers = drivers.runtimeLayers
  if (layers === null || artifact.kind === 'image') return {}
  const toolDirectories = layers.toolDirectories(run.base)
  if (artifact.runtimeLayer === undefined) return toolDirectories.length === 0 ? {} : { support: { layer: null, toolDirectories } }
  const layer = await layers.find(id, artifact.runtimeLayer)
  if (layer !== null) return { support: { layer, toolDirectories } }
  throw new ShiplockError(
    'ROLLBACK_UNAVAILABLE',
    `the runtime layer ${artifact.runtimeLayer.slice(0, 12)} of this release is no longer there`,
    {
      hint: 'Deploy the commit again.',
    },
  )
}
