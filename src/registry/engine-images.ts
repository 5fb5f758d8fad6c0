import { type ContainerEngine, EngineRefusal, isRefusal } from '../container-engine/engine.ts'
import { jsonLines } from '../container-engine/engine-frames.ts'
import type { ImageEngine } from './oci.ts'
import type { PushMessage } from './push-progress.ts'
import { problemOfMessage } from './registry-problem.ts'

/** Images of a Docker-API engine, as a publication needs them. */
export function createEngineImages(engine: ContainerEngine): ImageEngine {
  return {
    imageId: async (name) => {
      try {
        return (await engine.json<{ Id: string }>('GET', `/images/${encodeURIComponent(name)}/json`)).Id
      } catch (error) {
        if (isRefusal(error, 400, 404)) return null
        throw error
      }
    },
    tagImage: (id, repository, tag) => engine.json('POST', `/images/${encodeURIComponent(id)}/tag`, { query: { repo: repository, tag } }),
    pushImage: async ({ repository, tag, auth, onMessage, signal }) => {
      try {
        const { body } = await engine.stream('POST', `/images/${repository}/push`, {
          query: { tag },
          headers: { 'x-registry-auth': auth },
          signal,
          timeoutMs: null,
          isRepeatable: false,
        })
        for await (const message of jsonLines<PushMessage>(body)) onMessage(message)
      } catch (error) {
        // Some engines look at the registry before they begin to answer.
        throw error instanceof EngineRefusal ? problemOfMessage(error.message) : error
      }
    },
  }
}
