import { type ContainerEngine, EngineRefusal, isRefusal } from '../../container-engine/engine.ts'
import { jsonLines } from '../../container-engine/engine-frames.ts'
import { findImageFacts } from '../../container-engine/image-facts.ts'
import { ShiplockError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import { printable } from '../../core/printable.ts'

interface PullProgress {
  readonly status?: string
  readonly id?: string
  readonly error?: string
}

/**
 * The image of a base, pulled if the engine does not have it. An image that is there is taken as it is: a base that moves under a
 * repository would change what a build gives without any change in it. @throws BASE_UNAVAILABLE in the engine's words
 */
export async function ensureBaseImage(
  engine: ContainerEngine,
  reference: string,
  options: { readonly onLine: (line: string) => void; readonly signal: AbortSignal },
): Promise<string> {
  const present = await findImageFacts(engine, reference, options.signal)
  if (present !== null) return present.id
  options.onLine(`pulling ${reference}`)
  try {
    const { body } = await engine.stream('POST', '/images/create', {
      query: { fromImage: reference, ...(/[:@][^/]*$/.test(reference) ? {} : { tag: 'latest' }) },
      signal: AbortSignal.any([options.signal, AbortSignal.timeout(LIMITS.imagePullMs)]),
      timeoutMs: null,
    })
    for await (const { error, status, id } of jsonLines<PullProgress>(body)) {
      if (error !== undefined) throw new EngineRefusal(500, printable(error))
      if (status !== undefined && /^(Pulling from|Digest|Status)/.test(status))
        options.onLine(printable(id === undefined ? status : `${id}: ${status}`))
    }
  } catch (error) {
    options.signal.throwIfAborted()
    if (isRefusal(error)) throw unavailable(reference, error.message, error)
    throw error
  }
  const pulled = await findImageFacts(engine, reference, options.signal)
  if (pulled === null) throw unavailable(reference, 'the pull ended without it', null)
  return pulled.id
}

function unavailable(reference: string, reason: string, cause: unknown): ShiplockError {
  return new ShiplockError('BASE_UNAVAILABLE', `the image ${reference} of the base can't be had: ${reason}`, {
    hint: 'Choose another version, name an image of yours in SHIPLOCK_BASES, or load it into the engine.',
    details: { image: reference },
    cause,
  })
}
