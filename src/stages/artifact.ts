import { ShiplockError } from '../core/errors.ts'
import type { Artifact } from '../domain/deployment.ts'
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
