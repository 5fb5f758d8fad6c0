import { ShiplockError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Artifact } from '../domain/deployment.ts'
import { configOf } from './build.ts'
import { done, type Stage, type StageContext, skipped } from './stage.ts'

type TreeArtifact = Extract<Artifact, { kind: 'tree' }>

/**
 * The layer that `run.prepareCommands` make beside the artifact: found by the content of its inputs, or made. The artifact names it from
 * here on, so that the release, and every rollback to it, runs with exactly this one.
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
    const request = await requestOf(context)
    if (run.prepareCommands.length === 0) {
      await layers.checkBase(request)
      return skipped('no run.prepareCommands', { facts: { artifact: withLayer(artifact, null) } })
    }
    context.crashPoint('prepare.before')
    const files = await prepareFilesOf(context, artifact)
    const layer = await layers.prepare({ ...request, files })
    context.crashPoint('prepare.made-not-recorded')
    const found = `runtime layer: ${layer.isReused ? 'hit' : 'miss'} (${layer.reason})`
    context.log('engine', `${found}: ${layer.files} files, ${(layer.bytes / 1024).toFixed(0)} KiB (${layer.id.slice(0, 12)})`)
    const outcome = layer.isReused ? skipped : done
    return outcome(found, { facts: { artifact: withLayer(artifact, layer.id) } })
  },

  async undo(context) {
    await context.drivers.runtimeLayers?.cleanUp(context.deployment.id)
  },
}

async function requestOf(context: StageContext) {
  const env = await context.buildVariables()
  const { run, build } = configOf(context)
  const { deployment } = context
  return {
    key: deployment.id,
    projectId: deployment.projectId,
    serviceEnvironmentId: deployment.serviceEnvironmentId,
    config: run,
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
