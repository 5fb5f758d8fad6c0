import { createHash } from 'node:crypto'
import type { ContainerEngine } from '../container-engine/engine.ts'
import type { ImageCredentials } from '../container-engine/image-credentials.ts'
import { findImageFacts } from '../container-engine/image-facts.ts'
import { pullImage, requireImageReference } from '../container-engine/image-pull.ts'
import { ShiplockError } from '../core/errors.ts'
import type { Digest } from '../domain/ids.ts'
import { type ImageReference, pinnedReference } from '../domain/image-reference.ts'
import type { Builder, BuildRequest } from './builder.ts'
import { assertStartable } from './startable.ts'

/** Builds nothing: brings the image, which fetch has pinned to a digest, into the engine and looks at what it starts. */
export function createImageBuilder(options: { readonly engine: ContainerEngine; readonly credentials: ImageCredentials }): Builder {
  const { engine, credentials } = options
  return {
    kind: 'image',
    buildKey: async ({ config }) => {
      const { name, digest } = pinned(config)
      return `sha256:${createHash('sha256')
        .update(JSON.stringify(['image', 1, name, digest]))
        .digest('hex')}` as Digest
    },
    isKept: async ({ digest, reference }) =>
      (await findImageFacts(engine, digest)) !== null ||
      (await findImageFacts(engine, `${requireImageReference(reference).name}@${digest}`)) !== null,
    build: async ({ config, names, env, startCommands, onLine, signal }) => {
      const reference = pinned(config)
      const auth = await credentials.find(reference, { project: names.project, variables: env })
      const facts = await pullImage(engine, { reference, auth, signal, onLine: (line) => onLine(line, 'engine') })
      const { os, arch } = await engine.version(signal)
      if (!`${facts.platform}/`.startsWith(`${os}/${arch}/`)) {
        throw new ShiplockError('IMAGE_REFUSED', `the image is for ${facts.platform}, and this server’s engine runs ${os}/${arch}`)
      }
      assertStartable(facts, startCommands, 'the image')
      const { command, exposedPorts } = facts
      return {
        kind: 'image',
        artifact: {
          kind: 'image',
          digest: reference.digest,
          reference: pinnedReference(reference, reference.digest),
          command,
          exposedPorts,
        },
      }
    },
    cleanUp: async () => {},
  }
}

function pinned(config: BuildRequest['config']): ImageReference & { readonly digest: Digest } {
  if (config.kind !== 'image') throw new ShiplockError('INTERNAL', `the image builder was given a ${config.kind} build`)
  const reference = requireImageReference(config.reference)
  if (reference.digest === null) throw new ShiplockError('INTERNAL', `the image ${config.reference} was not resolved`)
  return { ...reference, digest: reference.digest }
}
