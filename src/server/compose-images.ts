import type { Builder } from '../builders/builder.ts'
import { createDockerfileBuilder } from '../builders/dockerfile/dockerfile-builder.ts'
import { createImageBuilder } from '../builders/image-builder.ts'
import type { Settings } from '../config/settings.ts'
import type { ContainerEngine } from '../container-engine/engine.ts'
import { createImageCredentials, type ImageCredentials } from '../container-engine/image-credentials.ts'
import type { MemoryDirectory } from '../core/memory-directory.ts'
import { parseRegistryPrefix } from '../registry/image-name.ts'
import { createImageSource } from '../sources/image.ts'
import type { SourceFetcher } from '../sources/source.ts'

/** What makes and fetches images with that engine. */
export function composeImages(
  settings: Settings,
  engine: ContainerEngine,
  owner: string,
  memory: MemoryDirectory,
): { readonly source: SourceFetcher; readonly dockerfile: Builder; readonly ready: Builder } {
  const credentials = imageCredentials(settings)
  return {
    source: createImageSource({ engine, credentials }),
    dockerfile: createDockerfileBuilder({
      engine,
      owner,
      memory,
      searchPath: settings.searchPath,
      credentials,
      network: settings.dockerfileNetwork,
      mayAddUrls: settings.dockerfileAddUrls === 'allow',
      memoryMb: settings.buildMemoryMb,
      cpus: settings.buildCpus,
    }),
    ready: createImageBuilder({ engine, credentials }),
  }
}

function imageCredentials({ registry, registryUser, registryPassword, registryAuthFile }: Settings): ImageCredentials {
  if (registry === null) return createImageCredentials({ file: registryAuthFile, publish: null })
  const auth = registryUser === null || registryPassword === null ? null : { username: registryUser, password: registryPassword }
  return createImageCredentials({ file: registryAuthFile, publish: { ...parseRegistryPrefix(registry), auth } })
}
