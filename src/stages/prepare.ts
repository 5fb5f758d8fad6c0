import { ShiplockError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { TreeArtifact } from '../domain/deployment.ts'
import type { RunConfig } from '../domain/service-config.ts'
import { artifactDirectoryOf } from './artifact.ts'
import { configOf } from './build.ts'
import { done, type Stage, type StageContext, type StageOutcome, skipped } from './stage.ts'

/**
 * The layer that `run.prepareCommands` make beside the artifact: found by the content of its inputs, or made. The artifact names it from
 * here on, so that the release, and every rollback to it, runs with exactly this one. Where the runtime runs images only, layer and tree
 * become one image here.
 */
export const prepare: Stage = {
  name: 'prepare',

  async run(context) {
    const { run } = configOf(context)
    const artifact = context.facts.artifact
    const layers = context.drivers.runtimeLayers
    if (artifact === null || artifact.kind === 'image' || layers === null) {
      if (run.prepareCommands.length === 0) return skipped('no run.prepareCommands')
      throw new ShiplockError(
        'CONFIG_INVALID',
        `run.prepareCommands: the ${context.drivers.runtime.name} runtime prepares nothing for images`,
        {
          hint: 'Do it in the Dockerfile of the image.',
        },
      )
    }
    const request = await requestOf(context, artifact)
    if (run.prepareCommands.length === 0) {
      await layers.checkBase(request)
      return finish(context, { artifact: withLayer(artifact, null), found: 'no run.prepareCommands', isReused: true })
    }
    context.crashPoint('prepare.before')
    const files = await prepareFilesOf(context, artifact)
    const layer = await layers.prepare({ ...request, files })
    context.crashPoint('prepare.made-not-recorded')
    const found = `runtime layer: ${layer.isReused ? 'hit' : 'miss'} (${layer.reason})`
    context.log('engine', `${found}: ${layer.files} files, ${(layer.bytes / 1024).toFixed(0)} KiB (${layer.id.slice(0, 12)})`)
    return finish(context, { artifact: withLayer(artifact, layer.id), found, isReused: layer.isReused })
  },

  async undo(context) {
    await context.drivers.runtimeLayers?.cleanUp(context.deployment.id)
  },
}

interface Prepared {
  readonly artifact: TreeArtifact
  readonly found: string
  readonly isReused: boolean
}

async function finish(context: StageContext, { artifact, found, isReused }: Prepared): Promise<StageOutcome> {
  const { assembler } = context.drivers
  const config = configOf(context)
  // Static sites are served by a program of the server, which no image has.
  if (assembler === null || config.run.staticRoot !== null) return (isReused ? skipped : done)(found, { facts: { artifact } })
  const { deployment, names, signal } = context
  const { serviceEnvironmentId, projectId, environmentId } = deployment
  const layer = await layerOf(context, artifact)
  const made = await assembler.assemble({
    projectId,
    environmentId,
    serviceEnvironmentId,
    names,
    tree: artifact,
    treeDirectory: await treeDirectoryOf(context, artifact),
    layer,
    config: runSystemOf(context),
    onLine: (line) => context.log('engine', line, 'prepare'),
    signal,
  })
  context.crashPoint('prepare.assembled-not-recorded')
  const digest = made.artifact.digest.slice(0, 19)
  context.log('engine', `image of the artifact: ${made.isReused ? 'hit' : 'put together'}, ${digest}`)
  const reason = `${found}; image ${digest}${made.isReused ? ' is there already' : ''}`
  return (made.isReused ? skipped : done)(reason, { facts: { artifact: made.artifact } })
}

async function layerOf({ drivers, deployment }: StageContext, { runtimeLayer }: TreeArtifact) {
  if (runtimeLayer === undefined) return null
  const found = await drivers.runtimeLayers?.find(deployment.serviceEnvironmentId, runtimeLayer)
  if (found === undefined || found === null)
    throw new ShiplockError('BUILD_FAILED', 'the runtime layer was removed meanwhile', { hint: 'Deploy again.' })
  return found
}

/** In a container the system of the build is that of the run unless said otherwise, as the artifact may hold what was compiled for it. */
function runSystemOf(context: StageContext): Pick<RunConfig, 'os' | 'base'> {
  const { run, build } = configOf(context)
  if (context.drivers.assembler === null || build.kind !== 'recipe') return run
  return run.base === null ? { os: run.os ?? build.os, base: build.base[0] ?? null } : run
}

async function treeDirectoryOf(context: StageContext, artifact: TreeArtifact): Promise<string> {
  return (await artifactDirectoryOf(context.drivers, artifact)) ?? ''
}

async function requestOf(context: StageContext, artifact: TreeArtifact) {
  const env = await context.buildVariables()
  const { run, build } = configOf(context)
  const { deployment } = context
  return {
    key: deployment.id,
    projectId: deployment.projectId,
    environmentId: deployment.environmentId,
    serviceEnvironmentId: deployment.serviceEnvironmentId,
    config: { ...run, ...runSystemOf(context) },
    treeDirectory: await treeDirectoryOf(context, artifact),
    home: homeOf(context.facts.configOrigin),
    cacheDirectory: context.directories.cache,
    env,
    timeoutMs: build.kind === 'image' ? LIMITS.buildHardTimeoutMs : build.timeoutMs,
    onLine: (line: string, kind: 'engine' | 'command' | 'build') => context.log(kind, line, 'prepare'),
    signal: context.signal,
  }
}

/** Scripts of a dialect may name its home by path. */
function homeOf(configOrigin: string | null): string {
  return /(^|\/)zerops\.ya?ml$/.test(configOrigin ?? '') ? '/home/zerops' : '/home/shiplock'
}

async function prepareFilesOf(context: StageContext, artifact: TreeArtifact) {
  if (artifact.prepareFiles === undefined) return null
  const directory = await context.drivers.artifacts.find(artifact.prepareFiles)
  if (directory !== null) return { digest: artifact.prepareFiles, directory }
  throw new ShiplockError('BUILD_FAILED', 'the files of build.addToRunPrepare are no longer in the store', {
    hint: 'Deploy again with --rebuild.',
  })
}

function withLayer({ runtimeLayer: _, ...artifact }: TreeArtifact, layer: string | null): TreeArtifact {
  return layer === null ? artifact : { ...artifact, runtimeLayer: layer }
}
