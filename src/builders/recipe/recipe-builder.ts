import { createHash } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { totalmem } from 'node:os'
import { dirname, join } from 'node:path'
import { copyTree } from '../../core/copy-tree.ts'
import type { DiskRegistry } from '../../core/disk-writer.ts'
import { ShiplockError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { Logger } from '../../core/log.ts'
import { removeTree } from '../../core/remove-tree.ts'
import { treeDigest } from '../../core/tree-digest.ts'
import { formatBytes } from '../../domain/format-bytes.ts'
import type { Digest } from '../../domain/ids.ts'
import type { RecipeBuild } from '../../domain/service-config.ts'
import type { Sandbox } from '../../sandbox/sandbox.ts'
import type { BuildCaches, CacheHold } from '../build-caches.ts'
import type { Builder, BuildOutput, BuildRequest } from '../builder.ts'
import { type CollectOptions, collectArtifact, collectPrepareFiles } from './artifact.ts'
import { chooseImage } from './base-image.ts'
import { BaseLayer, SourceState } from './base-layer.ts'
import type { BaseOverrides } from './bases.ts'
import { TOOLS_DIRECTORY } from './build-cache-store.ts'
import { BuildLog } from './build-log.ts'
import { type BuildLimits, BuildSandbox, removeBuildSandbox } from './build-sandbox.ts'
import { LayerCache } from './layer-cache.ts'
import { layerParts } from './layer-key.ts'
import { runCommands } from './run-commands.ts'
import { baseDirectories, checkBases } from './toolchain.ts'

export interface RecipeBuilderOptions {
  readonly sandbox: Sandbox
  readonly logger: Logger
  /** PATH inside the sandbox. Default: the sandbox's own. */
  readonly searchPath?: string
  /** Of one build; null = no limit. Default: three quarters of the host's memory. */
  readonly memoryMb?: number | null
  /** Cores of one build, at most `LIMITS.buildCpus`; null = no limit (the default). */
  readonly cpus?: number | null
  /** Of one build on disk. Default: `LIMITS.buildDiskBytes`. */
  readonly diskBytes?: number
  /** Who guards the volume. Default: each build looks after itself. */
  readonly registry?: DiskRegistry | null
  /** Entries over the table of bases. */
  readonly bases?: BaseOverrides
  /** Keeps the caches of all services within their budget. Default: nobody does. */
  readonly caches?: BuildCaches
}

/** Raised when the same input would give another artifact. */
const RECIPE_VERSION = 2
const MEMORY_SHARE = 0.75
const NO_OVERRIDES: BaseOverrides = new Map()

/** What every build of one builder has in common. */
interface Workshop {
  readonly sandbox: Sandbox
  readonly limits: BuildLimits
  readonly bases: BaseOverrides
  readonly searchPath: string | null
  readonly caches: BuildCaches | null
}

/** Builds a file tree from the commands of a recipe, in a sandbox that is gone when `build` ends, however it ends (DESIGN.md §4). */
export function createRecipeBuilder(options: RecipeBuilderOptions): Builder {
  const { sandbox } = options
  const workshop: Workshop = {
    sandbox,
    limits: buildLimits(options),
    bases: options.bases ?? NO_OVERRIDES,
    searchPath: options.searchPath ?? null,
    caches: options.caches ?? null,
  }
  return {
    kind: 'recipe',
    buildKey: async ({ config, sourceDirectory, env }) => recipeKey(recipeOf(config), sourceDirectory, env),
    build: (request) => build(workshop, request),
    cleanUp: (request) => cleanUp(sandbox, request),
  }
}

/** The limits of one build, with their defaults. @throws RangeError for cores that nobody may have */
export function buildLimits({
  cpus = null,
  memoryMb,
  diskBytes,
  registry = null,
}: Pick<RecipeBuilderOptions, 'cpus' | 'memoryMb' | 'diskBytes' | 'registry'>): BuildLimits {
  if (cpus !== null && !(cpus >= 1 && cpus <= LIMITS.buildCpus))
    throw new RangeError(`a build has 1 to ${LIMITS.buildCpus} cores, not ${cpus}`)
  return {
    cpus,
    memoryMb: memoryMb === undefined ? Math.floor((totalmem() / 1024 ** 2) * MEMORY_SHARE) : memoryMb,
    diskBytes: diskBytes ?? LIMITS.buildDiskBytes,
    registry,
  }
}

async function build(workshop: Workshop, request: BuildRequest): Promise<BuildOutput> {
  const { sandbox } = workshop
  const recipe = recipeOf(request.config)
  checkEnvironment({ ...request.env, ...recipe.env })
  checkCachePaths(recipe.cache)
  const log = new BuildLog(request.onLine)
  if (recipe.prepareCommands.length === 0 && recipe.buildCommands.length === 0 && recipe.base.length === 0) {
    log.engine('no commands to run: the source is the build')
    return collect(request, recipe, { from: request.sourceDirectory, seenAs: request.sourceDirectory }, log)
  }
  await cleanUp(sandbox, request)
  const place = new BuildSandbox({
    sandbox,
    key: request.key,
    tenant: request,
    workDirectory: request.workDirectory,
    toolCacheDirectory: join(request.cacheDirectory, TOOLS_DIRECTORY),
    // Directories of the host mean nothing in the system of an image.
    toolDirectories: sandbox.containers === null ? baseDirectories(recipe.base, workshop.bases) : [],
    searchPath: workshop.searchPath,
    limits: workshop.limits,
    env: { ...request.env, ...recipe.env },
  })
  const hold = workshop.caches?.hold(request.serviceEnvironmentId) ?? null
  try {
    await runBuild({ place, recipe, request, log, hold, sandbox, limits: workshop.limits, bases: workshop.bases })
  } catch (error) {
    throw request.signal.aborted ? request.signal.reason : error
  } finally {
    await place.close()
    await hold?.release()
  }
  return collect(request, recipe, { from: place.sourceDirectory, seenAs: place.insideSource }, log)
}

interface Running {
  readonly place: BuildSandbox
  readonly recipe: RecipeBuild
  readonly request: BuildRequest
  readonly log: BuildLog
  readonly hold: CacheHold | null
  readonly sandbox: Sandbox
  readonly limits: BuildLimits
  readonly bases: BaseOverrides
}

/** In the order that people know: base and os, source, build layer, prepareCommands or base layer, buildCommands; then the layer is kept. */
async function runBuild(running: Running): Promise<void> {
  const { place, recipe, request, log, hold } = running
  const { signal } = request
  const deadline = performance.now() + Math.min(request.timeoutMs, recipe.timeoutMs, LIMITS.buildHardTimeoutMs)
  log.engine(running.sandbox.description.summary)
  log.engine(describeLimits(running, deadline - performance.now()))
  if (recipe.os !== null && running.sandbox.containers === null)
    log.engine(`os ${recipe.os} is not provided by this builder: the system of the host is used`)
  await place.make()
  const toolchains = running.sandbox.containers === null ? await findBases(running) : [await takeImage(running)]
  const parts = layerParts(recipe, toolchains, { ...request.env, ...recipe.env })
  const layer = new LayerCache(request.cacheDirectory, parts)
  log.engine(`source: ${await layOutSource(place, layer, request, log)} files`)
  signal.throwIfAborted()
  await place.own()
  await prepareSandbox(running, new BaseLayer(request.cacheDirectory, parts), deadline)
  await runCommands(recipe.buildCommands, { name: 'build.buildCommands', place, log, signal, deadline })
  if (hold?.wasCleared) return log.engine('build layer: nothing kept (the caches were cleared while this build ran)')
  const kept = await layer.preserve(place.sourceDirectory, signal)
  if (kept !== null) log.engine(kept.line)
}

/** The image of the base, which is all that there is of a toolchain in a container. */
async function takeImage({ place, recipe, request, log, sandbox, bases }: Running): Promise<string> {
  const chosen = chooseImage({ key: 'build.base', bases: recipe.base, os: recipe.os, directory: request.sourceDirectory }, bases)
  log.engine(`base ${chosen.base}: ${chosen.image} (${chosen.reason})`)
  const { signal } = request
  place.image = (await sandbox.containers?.ensureImage(chosen.image, { signal, onLine: (line) => log.engine(line) })) ?? null
  return `${chosen.image} ${place.image}`
}

async function findBases({ place, recipe, request, log }: Running): Promise<string[]> {
  const { signal } = request
  const ask = async (argv: readonly string[]) => {
    const lines: string[] = []
    const result = await place.run(argv, { timeoutMs: VERSION_TIMEOUT_MS, signal, onLine: (line) => lines.push(line) })
    if (result.aborted) throw signal.reason
    return result.exitCode === 0 ? lines : null
  }
  const found = await checkBases(recipe.base, ask, 'build.base')
  for (const { base, version } of found) if (version !== null) log.engine(`base ${base}: ${version} of this host`)
  return found.flatMap(({ version }) => version ?? [])
}
const VERSION_TIMEOUT_MS = 20_000

/** Runs prepareCommands, or puts in place what they left the last time. */
async function prepareSandbox(running: Running, layer: BaseLayer, deadline: number): Promise<void> {
  const { place, recipe, request, log, sandbox } = running
  const { prepareCommands } = recipe
  if (prepareCommands.length === 0) return
  const run = () => {
    return runCommands(prepareCommands, { name: 'build.prepareCommands', place: place.asRoot, log, signal: request.signal, deadline })
  }
  if (!sandbox.description.filesystem) {
    log.engine('base layer: none here (without bubblewrap the paths differ from build to build, so prepareCommands run in each)')
    return run()
  }
  const restored = await layer.restore(place.directory, sandbox.containers)
  log.engine(restored.line)
  await place.own()
  if (restored.image !== null) place.image = restored.image
  if (restored.isPrepared) return
  const before = await SourceState.of(place.sourceDirectory)
  await run()
  const changed = await before.firstChange()
  if (sandbox.containers !== null) await place.own()
  log.engine(await keepPrepared(running, layer, changed))
  if (changed === null) return
  log.engine('Move the commands that need or change the source to build.buildCommands: the others are then skipped from the next build on.')
}

async function keepPrepared({ place, request, hold }: Running, layer: BaseLayer, changed: string | null): Promise<string> {
  if (changed !== null) return `base layer: nothing kept (prepareCommands changed the source, e.g. ${changed}; they run in every build)`
  if (hold?.wasCleared) return 'base layer: nothing kept (the caches were cleared while this build ran)'
  const image = await place.keepSystem(`shiplock/base-layer:${layer.key.slice(0, 40)}`)
  request.signal.throwIfAborted()
  return layer.preserve(place.directory, image)
}

function describeLimits({ sandbox, limits }: Running, timeMs: number): string {
  const { cpu, memory } = sandbox.description
  const parts = [
    cpu && limits.cpus !== null ? `${limits.cpus} cores` : null,
    memory && limits.memoryMb !== null ? `${formatBytes(limits.memoryMb * 1024 ** 2)} of memory` : null,
    `${formatBytes(limits.diskBytes)} of disk`,
    `${Math.round(timeMs / 60_000) || '<1'} min`,
  ]
  return `limits: ${parts.filter((part) => part !== null).join(', ')}`
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
  const prepareDirectory = recipe.addToRunPrepare.length === 0 ? null : join(request.workDirectory, 'prepare-files')
  await removeTree(directory)
  await mkdir(request.workDirectory, { recursive: true, mode: 0o755 })
  const movable = built.from !== request.sourceDirectory
  // First: the artifact takes its files away where it may.
  if (prepareDirectory !== null) await collectPrepareFiles(built.from, prepareDirectory, recipe.addToRunPrepare, request.signal)
  const { startCommands, signal } = request
  await collectArtifact({ ...built, to: directory, movable, patterns: recipe.deployFiles, startCommands, log, signal })
  if (movable) await removeTree(dirname(built.from))
  return { kind: 'tree', directory, prepareDirectory }
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

/** The configuration has refused these already; a recipe may come from elsewhere (another dialect, an API). */
function checkCachePaths(paths: readonly string[]): void {
  const outside = paths.find((path) => path.startsWith('/') || path.split('/').includes('..'))
  if (outside === undefined) return
  throw new ShiplockError('CONFIG_INVALID', `build.cache: ${JSON.stringify(outside)} is outside of the source, only paths in it are kept`, {
    details: { path: outside },
  })
}

async function cleanUp(sandbox: Sandbox, request: Pick<BuildRequest, 'key' | 'workDirectory'>): Promise<void> {
  await removeBuildSandbox(sandbox, request.key)
  await removeTree(join(request.workDirectory, 'build'))
  await removeTree(join(request.workDirectory, 'output'))
  await removeTree(join(request.workDirectory, 'prepare-files'))
}

/** Everything the artifact depends on, but for the host's own tools: the tree that the build sees, the recipe, the variables. */
async function recipeKey(recipe: RecipeBuild, sourceDirectory: string, env: Readonly<Record<string, string>>): Promise<Digest> {
  const { digest } = await treeDigest(sourceDirectory)
  const { base, os, prepareCommands, buildCommands, deployFiles, addToRunPrepare } = recipe
  const variables = Object.entries({ ...env, ...recipe.env }).sort(([a], [b]) => (a < b ? -1 : 1))
  const system = `${process.platform} ${process.arch}`
  const commands = [prepareCommands, buildCommands, deployFiles, addToRunPrepare]
  const inputs = JSON.stringify([RECIPE_VERSION, system, digest, base, os, ...commands, variables])
  return `sha256:${createHash('sha256').update(inputs).digest('hex')}` as Digest
}
