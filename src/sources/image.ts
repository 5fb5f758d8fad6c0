import { mkdir } from 'node:fs/promises'
import type { ContainerEngine } from '../container-engine/engine.ts'
import type { ImageCredentials } from '../container-engine/image-credentials.ts'
import { requireImageReference, resolveImage } from '../container-engine/image-pull.ts'
import { ShiplockError } from '../core/errors.ts'
import type { SourceFetcher } from './source.ts'

/** A ready image: its tag is resolved to a digest once, which is the revision; nothing is pulled yet, and the directory stays empty. */
export function createImageSource(options: { readonly engine: ContainerEngine; readonly credentials: ImageCredentials }): SourceFetcher {
  const { engine, credentials } = options
  return {
    kind: 'image',
    validate: (source) => {
      if (source.kind === 'image') requireImageReference(source.reference)
    },
    fetch: async ({ source, directory, scope, onLine, signal }) => {
      if (source.kind !== 'image' || scope === undefined) throw new ShiplockError('INTERNAL', 'the image source was given something else')
      const reference = requireImageReference(source.reference)
      const auth = await credentials.find(reference, { project: scope.project, variables: await scope.variables() })
      const { digest, reference: pinned, note } = await resolveImage(engine, scope.projectId, { reference, auth, signal })
      onLine(`image ${pinned}: ${note}`)
      await mkdir(directory, { recursive: true })
      return { kind: 'image', digest, reference: pinned }
    },
  }
}
