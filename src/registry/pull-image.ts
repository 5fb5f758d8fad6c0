import { type ContainerEngine, EngineRefusal } from '../container-engine/engine.ts'
import { jsonLines } from '../container-engine/engine-frames.ts'
import { engineAuthHeader } from '../container-engine/registry-auth.ts'
import { systemClock } from '../core/clock.ts'
import { ShiplockError } from '../core/errors.ts'
import type { Artifact } from '../domain/deployment.ts'
import type { CredentialSource } from './credentials.ts'
import { parsePublished } from './image-name.ts'
import { type PushMessage, PushProgress } from './push-progress.ts'
import { problemOfMessage, RegistryProblem, withRegistryRetry } from './registry-problem.ts'

/**
 * Brings what was published into an engine that does not have it: another host, or one that was cleared up. By digest only, so that what
 * comes is what was asked for (I7). What was never published is left to whoever asks.
 */
export function createImagePuller(engine: ContainerEngine, credentials: CredentialSource) {
  return async (artifact: Extract<Artifact, { kind: 'image' }>, signal: AbortSignal): Promise<void> => {
    const published = parsePublished(artifact.reference)
    if (published === null) return
    const auth = engineAuthHeader(await credentials.find(published.host), published.host)
    const pull = async () => {
      const progress = new PushProgress(() => {})
      try {
        const query = { fromImage: published.name, tag: published.digest }
        const options = { query, headers: { 'x-registry-auth': auth }, signal, timeoutMs: null, isRepeatable: false }
        const { body } = await engine.stream('POST', '/images/create', options)
        for await (const message of jsonLines<PushMessage>(body)) progress.take(message)
      } catch (error) {
        throw error instanceof EngineRefusal ? problemOfMessage(error.message) : error
      }
      if (progress.error !== null) throw problemOfMessage(progress.error)
    }
    try {
      await withRegistryRetry(pull, { clock: systemClock, signal, onRetry: () => {} })
    } catch (error) {
      if (!(error instanceof RegistryProblem)) throw error
      throw new ShiplockError('LAUNCH_FAILED', `${artifact.reference} could not be pulled: ${error.message}`, {
        hint: 'Check that the registry has it still and takes the credentials of this server.',
      })
    }
  }
}
