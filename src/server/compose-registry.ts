import type { Settings } from '../config/settings.ts'
import { systemClock } from '../core/clock.ts'
import { type CredentialSource, createCredentialSource } from '../registry/credentials.ts'
import { parseRegistryPrefix } from '../registry/image-name.ts'
import { createLocalRegistry } from '../registry/local.ts'
import { createOciRegistry, type ImageEngine } from '../registry/oci.ts'
import type { Registry } from '../registry/registry.ts'

/** Where images are pushed, as the settings say. */
export function composeRegistry(settings: Settings, engine: ImageEngine | null): Registry {
  if (settings.registry === null) return createLocalRegistry()
  return createOciRegistry({
    prefix: parseRegistryPrefix(settings.registry),
    isPlain: settings.registryInsecure,
    credentials: registryCredentials(settings),
    engine,
    clock: systemClock,
  })
}

export function registryCredentials(settings: Settings): CredentialSource {
  const { registry, registryUser, registryPassword, registryAuthFile } = settings
  const host = registry === null ? '' : parseRegistryPrefix(registry).host
  return createCredentialSource({ username: registryUser, password: registryPassword, file: registryAuthFile, host })
}
