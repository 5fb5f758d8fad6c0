import { createHash } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { totalmem } from 'node:os'
import { dirname, join } from 'node:path'
import { copyTree } from '../../core/copy-tree.ts'
import { ShiplockError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { Logger } from '../../core/log.ts'
import { removeTree } from '../../core/remove-tree.ts'
import { treeDigest } from '../../core/tree-digest.ts'
import type { Digest } from '../../domain/ids.ts'
import type { RecipeBuild } from '../../domain/service-config.ts'
import type { Sandbox } from '../../sandbox/sandbox.ts'
import type { Builder, BuildOutput, BuildRequest } from '../builder.ts'
import { type CollectOptions, collectArtifact } from './artifact.ts'
import { BuildLog } from './build-log.ts'
import { BuildSandbox, removeBuildSandbox } from './build-sandbox.ts'
import { LayerCache } from './layer-cache.ts'
import { runCommands } from './run-commands.ts'
import { checkBases } from './toolchain.ts'

export interface RecipeBuilderOptions {
  readonly sandbox: Sandbox
  readonly logger: Logger
  /** PATH inside the sandbox. Default: the sandbox's own. */
  readonly searchPath?: string
  /** Of one build; null = no limit. Default: three quarters of the host's memory. */
  readonly memoryMb?: number | null
  /** Cores of one build; null = no limit (the default). */
  readonly cpus?: number | null
}

/** Raised when the same input would give another artifact. */
const RECIPE_VERSION = 1
const MEMORY_SHARE = 0.75

/** Builds a file tree from the commands of a recipe, in a sandbox that is gone when `build` ends, however it ends (DESIGN.md §4). */
export function createRecipeBuilder(options: RecipeBuilderOptions): Builder {
  const { sandbox } = options
  return {
    kind: 'recipe',
    buildKey: async ({ config, sourceDirectory, env }) => recipeKey(recipeOf(config), sourceDirectory, env),
    build: async (request) => {
      const recipe = recipeOf(request.config)
      checkEnvironment({ ...request.env, ...recipe.env })
      const log = new BuildLog(request.onLine)
      if (recipe.prepareCommands.length === 0 && recipe.buildCommands.length === 0 && recipe.base.length === 0) {
        log.engine('no commands to run: the source is the build')
        return collect(request, recipe, { from: request.sourceDirectory, seenAs: request.sourceDirectory }, log)
      }
      await cleanUp(sandbox, request)
      const place = new BuildSandbox({
        sandbox,
        key: request.key,
        projectId: request.projectId,
        workDirectory: request.workDirectory,
        toolCacheDirectory: join(request.cacheDirectory, 'tools'),
        searchPath: options.searchPath ?? null,
        memoryMb: options.memoryMb === undefined ? Math.floor((totalmem() / 1024 ** 2) * MEMORY_SHARE) : options.memoryMb,
        cpus: options.cpus ?? null,
        env: { ...request.env, ...recipe.env },
      })
      try {
        await runBuild(place, recipe, request, log, sandbox)
      } catch (error) {
        throw request.signal.aborted ? request.signal.reason : error
      } finally {
        await place.close()
      }
      return collect(request, recipe, { from: place.sourceDirectory, seenAs: place.insideSource }, log)
    },
    cleanUp: (request) => cleanUp(sandbox, request),
  }
}

async function runBuild(place: BuildSandbox, recipe: RecipeBuild, request: BuildRequest, log: BuildLog, sandbox: Sandbox): Promise<void> {
  const { signal } = request
  log.engine(sandbox.description.summary)
  if (recipe.os !== null) log.engine(`os ${recipe.os} is not provided by this builder: the system of the host is used`)
  await mkdir(dirname(place.sourceDirectory), { recursive: true })
  await place.make()
  const cache = new LayerCache(request.cacheDirectory, recipe)
  const files = await layOutSource(place, cache, request, log)
  signal.throwIfAborted()
  await place.open()
  for (const line of await checkBases(recipe.base, { sandbox: place, signal })) log.engine(line)
  log.engine(`source: ${files} files`)
  const deadline = performance.now() + Math.min(request.timeoutMs, recipe.timeoutMs, LIMITS.buildHardTimeoutMs)
  await runCommands(recipe.prepareCommands, { name: 'prepareCommands', place, log, signal, deadline })
  await runCommands(recipe.buildCommands, { name: 'buildCommands', place, log, signal, deadline })
  const kept = await cache.preserve(place.sourceDirectory)
  if (kept !== null) log.engine(kept.line)
}

/** A copy of the source with the build layer added; the source alone when the layer can't be read. */
async function layOutSource(place: BuildSandbox, cache: LayerCache, request: BuildRequest, log: BuildLog): Promise<number> {
  const files = await copyTree(request.sourceDirectory, place.sourceDirectory)
  const restored = await cache.restore(place.sourceDirectory)
  if (restored === null) return files
  log.engine(restored.line)
  if (restored.intact) return files
  await removeTree(place.sourceDirectory)
  return copyTree(request.sourceDirectory, place.sourceDirectory)
}

type BuiltTree = Pick<CollectOptions, 'from' | 'seenAs'>

async function collect(request: BuildRequest, recipe: RecipeBuild, built: BuiltTree, log: BuildLog): Promise<BuildOutput> {
  const directory = join(request.workDirectory, 'output')
  await removeTree(directory)
  await mkdir(request.workDirectory, { recursive: true, mode: 0o755 })
  const movable = built.from !== request.sourceDirectory
  await collectArtifact({ ...built, to: directory, movable, patterns: recipe.deployFiles, startCommands: request.startCommands, log })
  if (movable) await removeTree(dirname(built.from))
  return { kind: 'tree', directory }
}

function recipeOf(config: BuildRequest['config']): RecipeBuild {
  if (config.kind === 'recipe') return config
  throw new ShiplockError('INTERNAL', `the recipe builder was given a ${config.kind} build`)
}

function checkEnvironment(env: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(env)) {
    if (/^[A-Za-z_][A-Za-z0-9_]*$/.test(name) && !value.includes('\0')) continue
    throw new ShiplockError(
      'CONFIG_INVALID',
      `the build variable ${JSON.stringify(name.slice(0, 80))} has an unusable name or a NUL in its value`,
    )
  }
}

async function cleanUp(sandbox: Sandbox, request: Pick<BuildRequest, 'key' | 'workDirectory'>): Promise<void> {
  await removeBuildSandbox(sandbox, request.key)
  await removeTree(join(request.workDirectory, 'build'))
  await removeTree(join(request.workDirectory, 'output'))
}

/** Everything the artifact depends on, but for the host's own tools: the tree that the build sees, the recipe, the variables. */
async function recipeKey(recipe: RecipeBuild, sourceDirectory: string, env: Readonly<Record<string, string>>): Promise<Digest> {
  const { digest } = await treeDigest(sourceDirectory)
  const { base, os, prepareCommands, buildCommands, deployFiles } = recipe
  const variables = Object.entries({ ...env, ...recipe.env }).sort(([a], [b]) => (a < b ? -1 : 1))
  const system = `${process.platform} ${process.arch}`
  const inputs = JSON.stringify([RECIPE_VERSION, system, digest, base, os, prepareCommands, buildCommands, deployFiles, variables])
  return `sha256:${createHash('sha256').update(inputs).digest('hex')}` as Digest
}
