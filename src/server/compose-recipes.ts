import { join } from 'node:path'
import type { BuildCaches } from '../builders/build-caches.ts'
import type { Builder } from '../builders/builder.ts'
import { ContainerSandbox } from '../builders/containers/container-sandbox.ts'
import { createEngineAssembler } from '../builders/containers/engine-assembler.ts'
import type { ImageAssembler } from '../builders/image-assembler.ts'
import { buildLimits, createRecipeBuilder } from '../builders/recipe/recipe-builder.ts'
import { createRuntimeLayers } from '../builders/recipe/runtime-layer-store.ts'
import type { RuntimeLayers } from '../builders/runtime-layers.ts'
import type { Settings } from '../config/settings.ts'
import type { ContainerEngine } from '../container-engine/engine.ts'
import type { DiskRegistry } from '../core/disk-writer.ts'
import type { Logger } from '../core/log.ts'
import type { Sandbox } from '../sandbox/sandbox.ts'
import { TenantUsers } from '../sandbox/tenant-users.ts'

/** Where recipes are built, and what becomes of the trees: processes of this host, or images where everything runs in containers. */
export function composeRecipes(
  settings: Settings,
  logger: Logger,
  parts: {
    readonly sandbox: Sandbox
    readonly caches: BuildCaches
    readonly containerEngine: ContainerEngine | null
    readonly imageOwner: string
    readonly registry: DiskRegistry
  },
): {
  readonly builder: Builder
  readonly runtimeLayers: RuntimeLayers
  readonly assembler: ImageAssembler | null
  readonly users: TenantUsers
} {
  const { caches, containerEngine, imageOwner: owner } = parts
  const { bases, dataDirectory } = settings
  const limits = buildLimits({
    cpus: settings.buildCpus,
    diskBytes: settings.buildDiskMb * 1024 ** 2,
    registry: parts.registry,
    ...(settings.buildMemoryMb === null ? {} : { memoryMb: settings.buildMemoryMb }),
  })
  // Sources and caches are mounted into build containers, so the engine must see the files of this host.
  const engine = settings.runtime === 'docker' && containerEngine?.isLocal === true ? containerEngine : null
  const isRoot = process.getuid?.() === 0
  const users = new TenantUsers(join(dataDirectory, 'containers'))
  const userOf: TenantUsers['userOf'] = async (tenant) => (isRoot ? users.userOf(tenant) : (process.getuid?.() ?? 0))
  const sandbox = engine === null ? parts.sandbox : new ContainerSandbox({ engine, owner, userOf, ownsFiles: isRoot })
  return {
    builder: createRecipeBuilder({ sandbox, logger, caches, bases, ...limits }),
    runtimeLayers: createRuntimeLayers({ directory: join(dataDirectory, 'work', 'runtime-layers'), sandbox, limits, caches, bases }),
    assembler: engine === null ? null : createEngineAssembler({ engine, owner, bases, userOf }),
    users,
  }
}
