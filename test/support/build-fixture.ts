import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { BuildOutput, BuildRequest } from '../../src/builders/builder.ts'
import { createBuildCaches } from '../../src/builders/recipe/build-cache-store.ts'
import { createRecipeBuilder, type RecipeBuilderOptions } from '../../src/builders/recipe/recipe-builder.ts'
import { silentLogger } from '../../src/core/log.ts'
import type { EnvironmentId, ProjectId, ServiceEnvironmentId } from '../../src/domain/ids.ts'
import type { RecipeBuild } from '../../src/domain/service-config.ts'
import { createSandbox } from '../../src/sandbox/create-sandbox.ts'
import { type TreeFiles, writeFiles } from './git-repo.ts'
import { temporaryDirectory } from './temporary-directory.ts'

export const EMPTY_RECIPE: RecipeBuild = {
  kind: 'recipe',
  base: [],
  os: null,
  prepareCommands: [],
  buildCommands: [],
  deployFiles: ['.'],
  cache: [],
  addToRunPrepare: [],
  env: {},
  timeoutMs: 60_000,
}

export interface BuildResult {
  /** Of the artifact; '' when the build failed. */
  readonly directory: string
  readonly prepareDirectory: string | null
  readonly log: string
  readonly error: (Error & { readonly code?: string; readonly hint?: string }) | null
}

/** A recipe builder on this host with the sandbox that it allows, in a directory of the test. */
export async function buildFixture(options: Partial<RecipeBuilderOptions> & { readonly cacheBytesMax?: number } = {}) {
  const root = temporaryDirectory()
  const sandbox = await createSandbox({ stateDirectory: join(root, 'sandbox'), logger: silentLogger })
  const cacheDirectory = join(root, 'cache')
  const { cacheBytesMax, ...rest } = options
  const caches = createBuildCaches({
    directory: cacheDirectory,
    logger: silentLogger,
    ...(cacheBytesMax === undefined ? {} : { bytesMax: cacheBytesMax }),
  })
  const builder = createRecipeBuilder({ sandbox, logger: silentLogger, caches, ...rest })
  let count = 0
  const requestOf = (files: TreeFiles, recipe: Partial<RecipeBuild>, more: Partial<BuildRequest> = {}): BuildRequest => {
    const number = count++
    const sourceDirectory = join(root, `source${number}`)
    mkdirSync(sourceDirectory)
    writeFiles(sourceDirectory, files)
    const serviceEnvironmentId = more.serviceEnvironmentId ?? ('sen_1' as ServiceEnvironmentId)
    return {
      key: `dep_${number}`,
      projectId: 'prj_1' as ProjectId,
      environmentId: 'env_1' as EnvironmentId,
      serviceEnvironmentId,
      names: { project: 'main', environment: 'production', service: 'app' },
      config: { ...EMPTY_RECIPE, ...recipe },
      sourceDirectory,
      workDirectory: join(root, `work${number}`),
      cacheDirectory: join(cacheDirectory, serviceEnvironmentId),
      env: {},
      startCommands: [],
      timeoutMs: 60_000,
      onLine: () => {},
      signal: new AbortController().signal,
      ...more,
    }
  }
  const build = async (files: TreeFiles, recipe: Partial<RecipeBuild>, more: Partial<BuildRequest> = {}): Promise<BuildResult> => {
    const lines: string[] = []
    const onLine: BuildRequest['onLine'] = (line, kind) => {
      lines.push(line)
      more.onLine?.(line, kind)
    }
    const request = requestOf(files, recipe, { ...more, onLine })
    let output: BuildOutput | null = null
    let error: BuildResult['error'] = null
    try {
      output = await builder.build(request)
    } catch (thrown) {
      error = thrown as Error
    }
    const log = lines.join('\n')
    if (output?.kind !== 'tree') return { directory: '', prepareDirectory: null, log, error }
    return { directory: output.directory, prepareDirectory: output.prepareDirectory ?? null, log, error }
  }
  return { root, sandbox, caches, cacheDirectory, builder, requestOf, build }
}
