import { join } from 'node:path'
import { createTreeStore } from '../artifacts/tree-store.ts'
import type { BuildCaches } from '../builders/build-caches.ts'
import { resolveImage } from '../config/resolve.ts'
import type { Settings } from '../config/settings.ts'
import type { ContainerEngine } from '../container-engine/engine.ts'
import { guardRegistries } from '../container-engine/guarded-engine.ts'
import type { DiskRegistry } from '../core/disk-writer.ts'
import type { ForeignPrograms } from '../core/foreign-programs.ts'
import type { HostGuard } from '../core/host-guard.ts'
import type { Logger } from '../core/log.ts'
import type { MemoryDirectory } from '../core/memory-directory.ts'
import type { Edge } from '../edge/edge.ts'
import { createEngineImages } from '../registry/engine-images.ts'
import { parseRegistryPrefix } from '../registry/image-name.ts'
import type { Runtime } from '../runtimes/runtime.ts'
import type { HostSandbox } from '../sandbox/host-sandbox.ts'
import { createGitSource } from '../sources/git.ts'
import type { createUploadStore } from '../sources/upload.ts'
import type { Drivers } from '../stages/stage.ts'
import { composeImages } from './compose-images.ts'
import { composeRecipes } from './compose-recipes.ts'
import { composeRegistry } from './compose-registry.ts'
import { composeLeakScanner, composeScanner } from './compose-scanner.ts'
import { resolveOffLoop } from './off-loop.ts'

/** One driver of each kind, as the settings say. */
export function composeDrivers(
  settings: Settings,
  logger: Logger,
  parts: {
    sandbox: HostSandbox
    edge: Edge
    uploads: ReturnType<typeof createUploadStore>
    runtime: Runtime
    caches: BuildCaches
    containerEngine: ContainerEngine | null
    /** On images that are built here. */
    imageOwner: string
    programs: ForeignPrograms
    hosts: HostGuard
    /** Of this server and its node: no source lies in or around them. */
    ownDirectories: readonly string[]
    memory: MemoryDirectory
    /** Who guards the disk. */
    registry: DiskRegistry
  },
): Drivers {
  const data = settings.dataDirectory
  const { runtime, sandbox, caches, containerEngine } = parts
  const recipes = composeRecipes(settings, logger, {
    sandbox,
    caches,
    containerEngine,
    imageOwner: parts.imageOwner,
    registry: parts.registry,
  })
  const guarded = containerEngine === null ? null : guardRegistries(containerEngine, parts.hosts, trustedRegistries(settings))
  const images = guarded === null ? null : composeImages(settings, guarded, parts.imageOwner, parts.memory)
  return {
    sources: {
      git: createGitSource({
        programs: parts.programs,
        hosts: parts.hosts,
        local: { directories: settings.fileSourceDirectories, forbidden: parts.ownDirectories },
        memory: parts.memory,
        caFile: settings.gitCaFile,
        logger,
      }),
      upload: parts.uploads,
      image: images?.source ?? null,
    },
    builders: {
      recipe: recipes.builder,
      dockerfile: images?.dockerfile ?? null,
      image: images?.ready ?? null,
    },
    artifacts: createTreeStore({ directory: join(data, 'artifacts') }),
    runtimeLayers: recipes.runtimeLayers,
    assembler: recipes.assembler,
    scanner: composeScanner(settings, containerEngine),
    leaks: composeLeakScanner(containerEngine),
    registry: composeRegistry(settings, containerEngine === null ? null : createEngineImages(containerEngine)),
    runtime,
    retainUsers: async (findLiving) => {
      for (const users of [sandbox.users, recipes.users]) await users.retain(findLiving)
    },
    edge: parts.edge,
    config: {
      resolveService: async (request) => {
        const resolved = await resolveOffLoop({ ...request, artifacts: runtime.capabilities.artifacts })
        return { config: resolved.config, origin: resolved.origin, detected: [...resolved.detected, ...resolved.notes] }
      },
      resolveImage: ({ serviceName, reference }) => resolveImage(serviceName, reference),
    },
  }
}

/** Named by the server's owner: they may be anywhere. */
function trustedRegistries({ registry }: Settings): readonly string[] {
  return registry === null ? [] : [parseRegistryPrefix(registry).host.toLowerCase()]
}
